"""Past to future: early tokens are context, later tokens are targets."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.masks.base import Masks, MaskSampler, Uniforms


class PastFutureConfig(MaskSampler):
    """Predict the future from the past, along the first axis of the grid (time)."""

    kind: Literal["past_future"] = "past_future"
    context: PositiveInt = Field(default=4, description="visible tokens of time")
    target: PositiveInt = Field(default=4, description="tokens of time to predict")
    gap: NonNegativeInt = Field(default=0, description="tokens of time between them, neither visible nor predicted")

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if the input is too short."""
        if (needed := self.context + self.gap + self.target) > grid[0]:
            raise ValueError(f"past_future needs {needed} tokens of time, the input has {grid[0]}")

    def sample(self, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
        """Equal masks for every sample: context (B, context * rest), targets (B, 1, target * rest)."""
        self.check(grid)
        batch, rest = len(uniforms), prod(grid[1:])
        first = (self.context + self.gap) * rest
        context, targets = torch.arange(self.context * rest), torch.arange(first, first + self.target * rest)
        return [Masks(context.expand(batch, -1), targets.expand(batch, 1, -1))]
