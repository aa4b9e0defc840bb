"""The interface between an objective and training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from anyjepa.masks.base import MaskSampler
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import Losses

Weights = Literal["teacher", "average", "student", "target"]


class Objective(nn.Module, ABC):
    """A model in pretraining. Subclasses set `student`, the encoder that the gradient trains, and define `forward`.

    config: the objective's settings; masks: the sampler's settings, None if no token is hidden; pairs: whether batches
    need a `pair`; adds_up: whether the losses of micro-batches add up to the loss of the optimiser batch (statistics
    of a batch, such as variances, do not).
    """

    config: Any
    student: Encoder
    masks: MaskSampler | None = None
    pairs: bool = False
    adds_up: bool = True

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """The loss terms of a micro-batch, as shares of the optimiser batch's loss."""

    def encoders(self) -> dict[Weights, Encoder]:
        """The encoders that a model folder may hold, by the name of their weights. The first one is the model."""
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        """The modules that a model folder holds, by name."""
        return {"encoder": next(iter(self.encoders().values()))}

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        """Called before the first forward of an optimiser step. Returns scheduled values to log."""
        return {}

    def end_step(self) -> None:
        """Called after the optimiser step."""

    @torch.no_grad()
    def representations(self, x: Tensor, start: Tensor | None = None) -> dict[str, Tensor]:
        """Representations to watch for collapse, by name: (S, D) or (B, N, D) each. Here the model's patch tokens."""
        name, encoder = next(iter(self.encoders().items()))
        return {name: encoder(x, start=start).padded().float()}
