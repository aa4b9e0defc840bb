"""Past to future: the first tokens of time are context, later ones are targets."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.config import Config
from anyjepa.masks.base import Masks


class PastFutureConfig(Config):
    """Predict the future from the past, along the first axis of the grid (time)."""

    kind: Literal["past_future"] = "past_future"
    context: PositiveInt = Field(default=4, description="tokens of time that are seen")
    target: PositiveInt = Field(default=4, description="tokens of time that are predicted")
    gap: NonNegativeInt = Field(default=0, description="tokens of time between them, neither seen nor predicted")

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if the input is too short."""
        if (needed := self.context + self.gap + self.target) > grid[0]:
            raise ValueError(f"past_future needs {needed} tokens of time, the input has {grid[0]}")


def past_future(config: PastFutureConfig, grid: tuple[int, ...], batch: int) -> Masks:
    """The same for every sample: grid (time, ...) -> context (B, context * rest), targets (B, 1, target * rest)."""
    config.check(grid)
    rest = prod(grid[1:])
    first = (config.context + config.gap) * rest
    context, targets = torch.arange(config.context * rest), torch.arange(first, first + config.target * rest)
    return Masks(context.expand(batch, -1), targets.expand(batch, 1, -1))
