"""What training asks of every objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from anyjepa.masks.base import Masks
from anyjepa.masks.sampling import MasksConfig
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.losses import Losses


class Pair(NamedTuple):
    """What paired prediction gets beside a batch."""

    other: Tensor  # (B, C, *samples), the second of each pair, maybe of another modality
    condition: Tensor | None = None  # (B, conditions, width), what happened between
    valid: Tensor | None = None  # (B, conditions), False where it is padding; None where all are


Weights = Literal["teacher", "average", "student", "target"]


class Objective(nn.Module, ABC):
    """An encoder in training. Subclasses set `student`, the encoder that gets the gradient, and define `forward`.

    masks: what hides tokens, None where nothing does; adds_up: whether the losses of micro-batches add up to that of
    the batch, which statistics of a batch do not; pairs: whether it learns from pairs of samples, `Pair`, then
    `forward` takes one, too.
    """

    config: Any
    student: Encoder
    masks: MasksConfig | None = None
    adds_up: bool = True
    pairs: bool = False

    @abstractmethod
    def forward(
        self, x: Tensor, masks: Sequence[Masks], start: Tensor | None = None, samples: int | None = None
    ) -> Losses:
        """x: (B, C, *samples), masks: the groups of this batch -> losses that add up over micro-batches and ranks.

        start: (B,) first token's place on the first axis; samples: of the whole optimiser batch, None: these B.
        """

    def encoders(self) -> dict[Weights, Encoder]:
        """The encoders that a model folder may hold, by the name of their weights; the first is the model."""
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        """What a model folder holds, by name."""
        return {"encoder": next(iter(self.encoders().values()))}

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        """Before an optimiser step's first forward; returns what follows a schedule, for the log."""
        return {}

    def end_step(self) -> None:
        """After the optimiser step."""

    @torch.no_grad()
    def representations(self, x: Tensor, start: Tensor | None = None) -> dict[str, Tensor]:
        """What collapse would show in, by name: (S, D) or (B, N, D) each. Here the model's patch tokens."""
        name, encoder = next(iter(self.encoders().items()))
        return {name: encoder(x, start=start).padded().float()}
