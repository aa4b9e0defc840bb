"""One way to draw masks, whatever their kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anyjepa.config import usual_kind
from anyjepa.masks.base import Masks
from anyjepa.masks.blocks import BlocksConfig, Uniforms, block_draws, sample_blocks
from anyjepa.masks.spans import SpanConfig, sample_spans, span_draws
from anyjepa.masks.temporal import PastFutureConfig, past_future
from anyjepa.masks.tubes import TubesConfig, sample_tubes, tube_draws

MasksConfig = Annotated[
    SpanConfig | BlocksConfig | TubesConfig | PastFutureConfig, Field(discriminator="kind"), usual_kind("spans")
]


def draws(config: MasksConfig, grid: tuple[int, ...]) -> tuple[int, int]:
    """Uniform numbers that `sample` uses: for the whole batch, and for a sample."""
    match config:
        case SpanConfig():
            return 1, span_draws(config, grid[0])
        case BlocksConfig():
            return block_draws(config)
        case TubesConfig():
            return tube_draws(config)
        case PastFutureConfig():
            return 0, 0


def sample(config: MasksConfig, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
    """The groups of masks of a batch: a pure function of numbers in [0, 1).

    grid: tokens along each axis; shared: (S,), for the whole batch; uniforms: (B, R), a row a sample; S and R as
    `draws` says. Raises ValueError where the grid does not fit the kind.
    """
    config.check(grid)
    match config:
        case SpanConfig():
            return [sample_spans(config, grid[0], float(shared[0]), uniforms)]
        case BlocksConfig():
            return [sample_blocks(config, (grid[0], grid[1]), shared, uniforms)]
        case TubesConfig():
            return sample_tubes(config, (grid[0], grid[1], grid[2]), shared, uniforms)
        case PastFutureConfig():
            return [past_future(config, grid, len(uniforms))]
