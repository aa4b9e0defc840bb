"""The interface between an objective and training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from anyjepa.diagnostics.prediction import Examined
from anyjepa.masks.base import MaskSampler
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import Losses
from anyjepa.parts import Part

Weights = Literal["teacher", "average", "student", "target"]


class ObjectiveConfig(Part):
    """Base of the settings of objectives, with `build`. A subclass has an `encoder`."""

    if TYPE_CHECKING:  # a subclass has these as fields or as properties

        @property
        def encoder(self) -> EncoderConfig: ...

    @property
    def second(self) -> EncoderConfig | None:
        """The encoder of the second sample of a pair, if it is of another modality."""
        return None

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if the objective cannot learn from inputs of this token grid. Called before training."""

    @abstractmethod
    def build(self, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> Objective:
        """An untrained objective for inputs (B, channels, *size).

        other: size of the second sample of a pair, if it is of another modality. Raises ValueError if the sizes do not
        fit together.
        """

    def build_predictor(self, grid: Sequence[int]) -> nn.Module | None:
        """The untrained predictor that a model folder holds; None if it holds none. grid: the full token grid."""
        return None


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

    def examine(self, batch: Batch) -> Examined | None:
        """The predictions of a batch and their targets, for diagnostics; None if the objective does not offer them.

        Called without gradients and in evaluation mode, on one rank only, with a part of a micro-batch.
        """
        return None
