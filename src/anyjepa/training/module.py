"""The LightningModule for pretraining: schedules, moving averages, and a check that the loss is finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from anyjepa.errors import InputError
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch
from anyjepa.randomness import torch_seed
from anyjepa.training.activations import checkpoint_activations
from anyjepa.training.config import TrainingConfig
from anyjepa.training.lars import LARS
from anyjepa.training.parameter_groups import decay_groups


class DivergedError(RuntimeError):
    """The loss is NaN or infinite. The message gives the step and the records."""


class CollapsedError(RuntimeError):
    """The representation has collapsed, and `stop_when_collapsed` is set. The message is the verdict."""


class Pretraining(L.LightningModule):
    """Train an objective, with any Trainer whose loader yields `Batch`.

    `accumulate_grad_batches` of the Trainer must be `config.accumulation`. ids: record ids, for error messages.
    """

    def __init__(self, objective: Objective, config: TrainingConfig, ids: Sequence[str]):
        super().__init__()
        if config.accumulation > 1 and not objective.adds_up:
            raise InputError(
                f"training.accumulation={config.accumulation}: a regulariser compares all samples of a batch, which "
                "micro-batches cannot; use accumulation=1 with more devices or a smaller batch_size"
            )
        together = config.batch_size // config.accumulation
        if together < 2 and (not objective.adds_up or any(isinstance(m, BatchNorm) for m in objective.modules())):
            raise InputError("training.batch_size: a regulariser or BatchNorm compares samples and needs at least two")
        self.objective, self.config, self.ids = objective, config, ids
        if config.checkpoint_activations:
            checkpoint_activations(objective)
        if config.compile:
            objective.compile()
        self.terms: dict[str, Tensor] = {}  # loss terms of the current optimiser step, this rank's share
        self.watched: dict[str, Tensor] = {}  # the same for values that are not part of the loss
        self.scheduled: dict[str, float] = {}
        self._unchecked: tuple[Tensor, Batch] | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.config.optimiser
        decayed, rest = decay_groups(self.objective, config.decay_rule)
        groups = [{"params": list(decayed.values())}, {"params": list(rest.values()), "weight_decay": 0.0}]
        if config.kind == "lars":
            groups[1]["scaled"] = False
            return LARS(groups, lr=config.lr, momentum=config.momentum, trust=config.trust, eps=config.eps)
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.check_finite()
        torch.manual_seed(torch_seed(self.config.seed, batch.step, batch.micro, self.global_rank))
        if batch.micro == 0:
            self._begin(batch.step)
        losses = self.objective(batch)
        total = losses.total()
        for sums, values in ((self.terms, losses.terms()), (self.watched, losses.watched)):
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value.detach()
        self._unchecked = (total.detach(), batch)
        # Lightning divides by the micro-batches and DDP by the ranks, but the loss is already a share of the whole.
        return total * (self.config.accumulation * self.trainer.world_size)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the teacher here, because a hook after the batch would run after checkpoints are saved."""
        super().optimizer_step(*args, **kwargs)
        self.objective.end_step()

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip without Lightning, which refuses to clip for a fused optimiser under autocast, even unscaled."""
        config = self.config.optimiser
        if config.clip is not None and self.trainer.global_step >= config.clip_from:
            for part in self.objective.children() if config.clip_parts else [self.objective]:
                torch.nn.utils.clip_grad_norm_(part.parameters(), config.clip)

    def check_finite(self) -> None:
        """Raise DivergedError if the last micro-batch's loss is not finite. Called one late, so a GPU need not wait."""
        if self._unchecked is None:
            return
        (loss, batch), self._unchecked = self._unchecked, None
        if not torch.isfinite(loss):
            names = ", ".join(self.ids[i] for i in batch.records[:8])
            more = f" and {len(batch.records) - 8} more" if len(batch.records) > 8 else ""
            raise DivergedError(f"the loss is {loss.item()} at step {batch.step + 1}; its records: {names}{more}")

    def _begin(self, step: int) -> None:
        """Set the scheduled values before the first micro-batch of a step."""
        steps = self.config.schedule_steps
        lr, weight_decay = self.config.optimiser.at(step, steps)
        decayed, rest = self.trainer.optimizers[0].param_groups
        decayed["lr"], rest["lr"], decayed["weight_decay"] = lr, lr, weight_decay
        self.terms, self.watched = {}, {}
        self.scheduled = {"lr": lr, "weight_decay": weight_decay, **self.objective.begin_step(step, steps)}
