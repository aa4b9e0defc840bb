"""Train a classifier on labels by Lightning's Trainer and keep its best state on validation data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from anyjepa.config import Config, Share
from anyjepa.evaluation.probes import selection_score
from anyjepa.evaluation.splits import Split
from anyjepa.randomness import generator
from anyjepa.training.config import Precision
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.precision import lightning_precision
from anyjepa.training.quiet import quiet_lightning
from anyjepa.training.schedules import warmup_cosine


class FitConfig(Config):
    """How long and how a classifier is trained."""

    steps: PositiveInt = Field(default=500, description="optimiser steps")
    batch: PositiveInt = Field(default=128, description="records a step; all training records if there are fewer")
    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate of AdamW")
    final_lr: PositiveFloat = Field(default=1e-3, description="learning rate of the last step, after half a cosine")
    warmup: NonNegativeInt = Field(default=0, description="steps from a learning rate of 0 to the peak")
    weight_decay: NonNegativeFloat = Field(default=0.01, description="of Linear weights")
    betas: tuple[Share, Share] = (0.9, 0.99)
    clip: PositiveFloat | None = Field(default=None, description="largest gradient norm; none: no clipping")
    validate_every: PositiveInt = Field(default=25, description="steps between validations; the best state is kept")
    patience: PositiveInt | None = Field(default=None, description="steps without a better validation that end it")
    precision: Precision = Field(default="auto", description="auto: bf16 where the hardware multiplies it fast")


Inputs = Callable[[np.ndarray, np.random.Generator], tuple[Tensor, ...]]  # rows (B,) -> what the network takes


def fit_classifier(
    network: nn.Module,
    inputs: Inputs,
    predict: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    split: Split,
    exclusive: bool,
    config: FitConfig,
) -> dict[str, float]:
    """Train `network` in place on the split's training part, leave it in its best state and say which step that was.

    inputs: random inputs of given rows; predict: probabilities (n, C) of given rows by the network as it is; values:
    labels (N, C). The best state is that of the best validation AUROC; of equals, of the smallest log loss.
    """
    device = next(network.parameters()).device
    best = _KeepBest(network, lambda: selection_score(values[split.validation], predict(split.validation)), config)
    trainer_settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with quiet_lightning(), torch.random.fork_rng():
        torch.manual_seed(split.seed)
        trainer = L.Trainer(
            accelerator="cpu" if device.type == "cpu" else "auto",
            devices=1,
            max_steps=config.steps,
            gradient_clip_val=config.clip,
            precision=lightning_precision(config.precision),  # type: ignore[arg-type]
            enable_model_summary=False,
            callbacks=[best],
            **trainer_settings,
        )
        batches = DataLoader(_Batches(inputs, values, split, config), batch_size=None)
        trainer.fit(_Classifier(network, config, exclusive), batches)
    network.load_state_dict(best.state)
    network.to(device).eval()  # Lightning leaves it on the CPU
    return {"steps": float(best.step)}


def as_probabilities(logits: Tensor, exclusive: bool) -> np.ndarray:
    """Logits (N, C) as probabilities, (N, C) float32."""
    return (logits.softmax(-1) if exclusive else logits.sigmoid()).float().cpu().numpy()


def mean_by_record(logits: Tensor, record: np.ndarray, records: int) -> Tensor:
    """Logits of windows (W, C) averaged over those of each record, whose place is `record` (W,) -> (records, C)."""
    place = torch.as_tensor(record, device=logits.device)
    total = torch.zeros(records, logits.shape[1], device=logits.device).index_add_(0, place, logits.float())
    return total / torch.bincount(place, minlength=records)[:, None]


class _Classifier(L.LightningModule):
    def __init__(self, network: nn.Module, config: FitConfig, exclusive: bool):
        super().__init__()
        self.network, self.config, self.exclusive = network, config, exclusive

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        *inputs, target = batch
        logits = self.network(*inputs).float()
        return F.cross_entropy(logits, target) if self.exclusive else F.binary_cross_entropy_with_logits(logits, target)

    def configure_optimizers(self) -> Any:
        config = self.config
        decayed, rest = (list(group.values()) for group in decay_groups(self.network, "matrices"))
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)

        def factor(step: int) -> float:
            if step < config.warmup:
                step += 1  # else the first step would change nothing
            return warmup_cosine(step, config.steps, 1.0, 0.0, config.final_lr / config.lr, config.warmup)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Batches(IterableDataset[list[Tensor]]):
    """Shuffled epochs of the training part, one batch a step."""

    def __init__(self, inputs: Inputs, values: np.ndarray, split: Split, config: FitConfig):
        self.inputs, self.rows, self.seed, self.steps = inputs, split.train, split.seed, config.steps
        self.values, self.batch = torch.as_tensor(values, dtype=torch.float32), min(config.batch, len(split.train))

    def __iter__(self) -> Iterator[list[Tensor]]:
        waiting, epoch = np.empty(0, dtype=int), 0
        for step in range(self.steps):
            if len(waiting) < self.batch:
                order = generator(self.seed, "probe order", epoch).permutation(self.rows)
                waiting, epoch = np.concatenate([waiting, order]), epoch + 1
            rows, waiting = waiting[: self.batch], waiting[self.batch :]
            yield [*self.inputs(rows, generator(self.seed, "probe inputs", step)), self.values[rows]]


class _KeepBest(L.Callback):
    def __init__(self, network: nn.Module, validate: Callable[[], tuple[float, float]], config: FitConfig):
        self.network, self.validate, self.config = network, validate, config
        self.best, self.step, self.state = (-np.inf, -np.inf), 0, copy.deepcopy(network.state_dict())

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.config.validate_every and step != self.config.steps:
            return
        self.network.eval()
        quality = self.validate()
        self.network.train()
        if quality > self.best:
            self.best, self.step, self.state = quality, step, copy.deepcopy(self.network.state_dict())
        elif self.config.patience is not None and step - self.step >= self.config.patience:
            trainer.should_stop = True
