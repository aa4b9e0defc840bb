"""The mask samplers, by `kind`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anyjepa.config import usual_kind
from anyjepa.masks.base import Masks, Uniforms
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.masks.temporal import PastFutureConfig
from anyjepa.masks.tubes import TubesConfig

MasksConfig = Annotated[
    SpanConfig | BlocksConfig | TubesConfig | PastFutureConfig, Field(discriminator="kind"), usual_kind("spans")
]


def draws(config: MasksConfig, grid: tuple[int, ...]) -> tuple[int, int]:
    """How many uniform numbers `sample` uses: for the whole batch, and per sample."""
    return config.draws(grid)


def sample(config: MasksConfig, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
    """The groups of masks of a batch: a pure function of uniform numbers in [0, 1).

    grid: tokens along each axis; shared: (S,) for the whole batch; uniforms: (B, R), one row per sample; `draws` gives
    S and R. Raises ValueError if the grid does not fit the sampler.
    """
    config.check(grid)
    return config.sample(grid, shared, uniforms)
