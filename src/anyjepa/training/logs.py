"""Logging during training: metrics.csv, other loggers, and a progress line."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch

from anyjepa.diagnostics.verdict import covers, verdict_of
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.batch import Batch
from anyjepa.progress import Counter
from anyjepa.training.config import OnlineConfig, TrainingConfig
from anyjepa.training.metrics_file import drop_rows_after, read_metrics
from anyjepa.training.module import CollapsedError, Pretraining
from anyjepa.training.monitor import StepSizes, monitor


class Online(NamedTuple):
    """Evaluation during training. scores: from the model's encoder; keep: writes the best checkpoint."""

    config: OnlineConfig
    scores: Callable[[Encoder], dict[str, float]]
    keep: Callable[[L.Trainer, int], None]


class Log(L.Callback):
    """Write a row of metrics.csv every `log_every` steps, with collapse metrics every `monitor_every` steps.

    The first and the last row have both. A resumed run first removes the rows after its checkpoint.
    """

    def __init__(self, path: Path, progress: bool = True, online: Online | None = None):
        self.path, self.progress, self.online = path, progress, online
        self.names: list[str] = []  # columns; the first row has all of them
        self._rows: list[dict[str, float]] = []  # measured so far
        self._shown: list[str] = []  # kinds of faults
        self._best = float("-inf")  # score of the evaluation during training
        self.started = False  # whether this process has taken part in writing a row; the same on every rank

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Pretraining)
        done = trainer.global_step
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.names = drop_rows_after(self.path, done)
            self._rows = read_metrics(self.path)
            column = f"online_{self.online.config.best}" if self.online else ""
            self._best = max((row[column] for row in self._rows if column in row), default=float("-inf"))
        self.started = trainer.strategy.broadcast(bool(self.names))
        self._since, self._samples = time.perf_counter(), 0
        self._steps = StepSizes(pl_module.objective)
        self._progress = Counter("pretraining", self.progress and trainer.is_global_zero)
        self._progress.update(done, pl_module.config.steps)
        self._newest = ""  # loss and speed in words

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Pretraining)
        config = pl_module.config
        if batch.micro == 0 and trainer.is_global_zero and self._due(config, batch.step + 1, config.monitor_every):
            self._steps.start()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._steps.gradient()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Pretraining)
        config, step = pl_module.config, batch.step + 1
        if batch.micro < config.accumulation - 1:
            return
        self._samples += config.batch_size
        self._progress.update(step, config.steps, self._newest)
        due = self._due(config, step, config.monitor_every)
        scored = self.online is not None and self._due(config, step, self.online.config.every)
        if due or scored or step % config.log_every == 0:
            self._write(trainer, pl_module, batch, step, due, scored)

    def _due(self, config: TrainingConfig, step: int, every: int) -> bool:
        """Whether to measure after this step: at the first row, every so many steps, and at the last step."""
        return not self.started or step % every == 0 or step == config.steps

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if hasattr(self, "_progress"):
            self._progress.close()

    def _write(self, trainer: L.Trainer, module: Pretraining, batch: Batch, step: int, due: bool, scored: bool) -> None:
        """due: whether to measure signs of collapse; scored: whether to evaluate with labels."""
        terms = {name: _over_ranks(trainer, value) for name, value in module.terms.items()}
        now = time.perf_counter()
        rate = self._samples / (now - self._since)
        watched = {name: _over_ranks(trainer, value) for name, value in module.watched.items()}
        row = {"step": step, "loss": sum(terms.values()), **terms, **watched, **module.scheduled, "samples_per_s": rate}
        self.started = True
        if trainer.is_global_zero:
            row |= self._steps.finish() | monitor(module.objective, batch) if due else {}
            row |= (
                self.online.scores(next(iter(module.objective.encoders().values()))) if scored and self.online else {}
            )
            self._append(row)
        if due:
            self._show_faults(trainer, module, row)
        if scored and self.online:
            self._keep_best(trainer, step, row.get(f"online_{self.online.config.best}", 0.0), self.online)
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "step"}, step=step)
        self._newest = f"loss {row['loss']:.4f}, {rate:.1f} samples/s"
        self._progress.update(step, module.config.steps, self._newest)
        self._since, self._samples = time.perf_counter(), 0

    def _show_faults(self, trainer: L.Trainer, module: Pretraining, row: dict[str, float]) -> None:
        """Show when a fault begins and when it ends. Raises CollapsedError on every rank if the settings say so."""
        self._rows.append(row)
        config = module.config
        objective = module.objective.config.model_dump(mode="json")
        verdict = verdict_of(self._rows, {"objective": objective, "training": {"steps": config.steps}})
        step = f"step {row['step']:,.0f}"
        for finding in verdict.findings:
            if finding.kind not in self._shown:
                self._progress.print(f"{step}: {finding}")
                self._shown.append(finding.kind)
        for kind in [kind for kind in self._shown if not covers(verdict, kind)]:
            self._progress.print(f"{step}: no sign of {kind} any more")
            self._shown.remove(kind)
        if config.stop_when_collapsed and trainer.strategy.reduce_boolean_decision(verdict.collapsed, all=False):
            raise CollapsedError(f"{self.path.parent}: stopped at step {row['step']:.0f}; {verdict}")

    def _keep_best(self, trainer: L.Trainer, step: int, score: float, online: Online) -> None:
        if trainer.strategy.broadcast(score > self._best):
            self._best = score
            online.keep(trainer, step)

    def _append(self, row: dict[str, float]) -> None:
        new, self.names = not self.names, self.names or list(row)
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self.names, restval="", extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)


def _over_ranks(trainer: L.Trainer, value: torch.Tensor) -> float:
    return float(trainer.strategy.reduce(value.clone(), reduce_op="sum"))
