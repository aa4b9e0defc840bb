"""Train a classifier on labels with Lightning's Trainer, and keep the best state on validation data."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from anyjepa.errors import InputError
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.probes import selection_score
from anyjepa.evaluation.splits import Split
from anyjepa.progress import tell
from anyjepa.randomness import generator
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.precision import lightning_precision
from anyjepa.training.quiet import quiet_lightning
from anyjepa.training.schedules import warmup_cosine

Inputs = Callable[[np.ndarray, np.random.Generator], tuple[Tensor, ...]]  # rows (B,) -> inputs of the network


def fit_classifier(
    network: nn.Module,
    inputs: Inputs,
    predict: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    split: Split,
    exclusive: bool,
    config: FitConfig,
) -> dict[str, float]:
    """Train `network` in place on the training part of the split, load its best state, and return the step of that.

    The best state has the highest validation AUROC; the lowest log loss breaks ties. inputs: random inputs for rows.
    predict: probabilities (n, C) for rows with the current weights. values: labels (N, C).
    """
    device, steps = next(network.parameters()).device, config.steps_for(len(split.train))
    pos_weight = _pos_weight(config, values[split.train], exclusive)
    best = _KeepBest(network, lambda: selection_score(values[split.validation], predict(split.validation)), config)
    trainer_settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with quiet_lightning(), torch.random.fork_rng():
        torch.manual_seed(split.seed)
        trainer = L.Trainer(
            accelerator="cpu" if device.type == "cpu" else "auto",
            devices=1,
            max_steps=steps,
            gradient_clip_val=config.clip,
            precision=lightning_precision(config.precision),  # type: ignore[arg-type]
            enable_model_summary=False,
            callbacks=[best],
            **trainer_settings,
        )
        batches = DataLoader(_Batches(inputs, values, split, config, steps), batch_size=None)
        trainer.fit(_Classifier(network, config, exclusive, pos_weight), batches)
    network.load_state_dict(best.state)
    network.to(device).eval()  # Lightning moves it to the CPU
    return {"steps": float(best.step)}


class _Classifier(L.LightningModule):
    def __init__(self, network: nn.Module, config: FitConfig, exclusive: bool, pos_weight: Tensor | None):
        super().__init__()
        self.network, self.config, self.exclusive = network, config, exclusive
        self.register_buffer("pos_weight", pos_weight)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        *inputs, target = batch
        logits = self.network(*inputs).float()
        if self.exclusive:
            return F.cross_entropy(logits, target)
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=self.pos_weight)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        config, steps = self.config, self.trainer.max_steps
        groups = [
            {"params": parameters, "weight_decay": decay, "lr": config.lr * factor}
            for (decay, factor), parameters in parameter_groups(self.network, config).items()
        ]
        optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)

        def factor(step: int) -> float:
            if step < config.warmup:
                step += 1  # otherwise the first step would have a learning rate of 0
            return warmup_cosine(step, steps, 1.0, 0.0, config.final_lr / config.lr, config.warmup)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(network: nn.Module, config: FitConfig) -> dict[tuple[float, float], list[nn.Parameter]]:
    """Group the trainable parameters by (weight decay, factor of the learning rate).

    The factor is layer_decay to the power of the number of layers above, counting from the last block (1) to the patch
    projection and positions (number of blocks + 1). The final norm and the head have the factor 1.
    """
    groups: defaultdict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    depth = len({match[1] for name, _ in network.named_parameters() if (match := _BLOCK.match(name))})
    for parameters, decay in zip(decay_groups(network, "matrices"), (config.weight_decay, 0.0), strict=True):
        for name, parameter in parameters.items():
            block = _BLOCK.match(name)
            above = depth - int(block[1]) if block else depth + 1 if _INPUT.match(name) else 0
            groups[decay, config.layer_decay**above].append(parameter)
    return groups


_BLOCK, _INPUT = (
    re.compile(r"encoder\.transformer\.blocks\.(\d+)\."),
    re.compile(r"encoder\.(project|prefix|positions|absent)"),
)


def _pos_weight(config: FitConfig, values: np.ndarray, exclusive: bool) -> Tensor | None:
    """Weights (C,) of positives from labels (N, C) of the training part; balanced: 1 for a class without positives."""
    if config.pos_weight is None:
        return None
    if exclusive:
        raise InputError(
            "pos_weight does not apply to exclusive classes; set it to null, or pass the labels as one 0/1 column per "
            "class (--target A,B,C)"
        )
    positives = values.sum(0)
    balanced = np.where(positives > 0, (len(values) - positives) / positives.clip(1), 1)
    weights = balanced if config.pos_weight == "balanced" else np.full(values.shape[1], config.pos_weight)
    return torch.as_tensor(weights, dtype=torch.float32)


class _Batches(IterableDataset[list[Tensor]]):
    """Shuffled epochs of the training part, one batch per step."""

    def __init__(self, inputs: Inputs, values: np.ndarray, split: Split, config: FitConfig, steps: int):
        self.inputs, self.rows, self.seed, self.steps = inputs, split.train, split.seed, steps
        self.drop_last = config.drop_last
        self.values, self.batch = torch.as_tensor(values, dtype=torch.float32), min(config.batch, len(split.train))

    def __iter__(self) -> Iterator[list[Tensor]]:
        waiting, epoch = np.empty(0, dtype=int), 0
        for step in range(self.steps):
            if len(waiting) < self.batch:
                order = generator(self.seed, "probe order", epoch).permutation(self.rows)
                waiting, epoch = order if self.drop_last else np.concatenate([waiting, order]), epoch + 1
            rows, waiting = waiting[: self.batch], waiting[self.batch :]
            yield [*self.inputs(rows, generator(self.seed, "probe inputs", step)), self.values[rows]]


class _KeepBest(L.Callback):
    def __init__(self, network: nn.Module, validate: Callable[[], tuple[float, float]], config: FitConfig):
        self.network, self.validate, self.config = network, validate, config
        self.best, self.step, self.state = (-np.inf, -np.inf), 0, copy.deepcopy(network.state_dict())
        self.average: dict[str, Tensor] | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        step = trainer.global_step
        score = f", best validation AUROC {self.best[0]:.3f}" if self.step else ""
        tell(f"step {step:,} of {trainer.max_steps:,}{score}")
        if self.config.ema is not None:
            self._follow(min(self.config.ema, (1 + step) / (10 + step)))
        if step % self.config.validate_every and step != trainer.max_steps:
            return
        with self._averaged():
            self.network.eval()
            quality = self.validate()
            if quality > self.best:
                self.best, self.step, self.state = quality, step, copy.deepcopy(self.network.state_dict())
            self.network.train()
        if self.config.patience is not None and step - self.step >= self.config.patience:
            trainer.should_stop = True

    def _follow(self, decay: float) -> None:
        now = self.network.state_dict()
        if self.average is None:
            self.average = copy.deepcopy(now)
        for name, tensor in self.average.items():
            if tensor.is_floating_point():
                tensor.lerp_(now[name], 1 - decay)
            else:  # a count, such as of the batches of a BatchNorm
                tensor.copy_(now[name])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Use the moving average of the weights, if there is one."""
        if self.average is None:
            yield
            return
        trained = copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(self.average)
        yield
        self.network.load_state_dict(trained)
