"""The 2-D block masks of I-JEPA: a few rectangles are targets; a large rectangle without them is the context."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Few, Share
from anyjepa.masks.base import Masks, MaskSampler, Uniforms

Map = NDArray[np.bool_]

TRIES = 20  # attempts in the published collator before a context may overlap one more target


class BlocksConfig(MaskSampler):
    """Target rectangles and a context rectangle without them (I-JEPA; Assran et al. 2023, section 3)."""

    kind: Literal["blocks"] = "blocks"
    targets: Few = Field(default=4, description="target blocks per image; they may overlap")
    scale: tuple[Share, Share] = Field(default=(0.15, 0.2), description="share of the tokens in a target block")
    aspect: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(0.75, 1.5), description="a target's width / height; in mode reference, as published, height / width"
    )
    context_scale: tuple[Share, Share] = Field(
        default=(0.85, 1.0), description="share of the tokens in the (square) context block, before targets are removed"
    )
    mode: Literal["exact", "reference"] = Field(
        default="exact",
        description="exact: each image has its own sizes and places, and every token can be context and target; "
        "reference: the published collator, with one size per batch, last row and column unused, contexts cut to the "
        "shortest",
    )
    together: PositiveInt | None = Field(
        default=None,
        description="reference only: number of samples that are cut to the shortest among them (published: those of a "
        "process); none: the whole optimiser batch",
    )
    min_keep: PositiveInt = Field(
        default=10, description="reference only: a context with at most this many tokens is drawn again"
    )

    @model_validator(mode="after")
    def _ordered(self) -> BlocksConfig:
        for name in ("scale", "aspect", "context_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be 0 < low <= high, got {(low, high)}")
        return self

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if `grid` (rows, columns) has no room for context and targets."""
        if len(grid) != 2 or min(grid) < 2:
            raise ValueError(f"block masks need a grid of at least 2 x 2 tokens, got {' x '.join(map(str, grid))}")
        if self.mode == "reference":
            shares = np.linspace(0, 1, 1001)
            area = np.floor(between(self.scale, shares) * grid[0] * grid[1])
            height, width = _shrunk(*sides(area, between(self.aspect, shares)), grid)
            if (smallest := int((height * width).min())) <= self.min_keep:
                raise ValueError(
                    f"a target block of {smallest} tokens does not exceed min_keep {self.min_keep}, and the published "
                    f"collator would search for ever; lower min_keep below {smallest}"
                )

    def draws(self, grid: tuple[int, ...]) -> tuple[int, int]:
        if self.mode == "reference":
            return 2, 2 * (self.targets + TRIES * (self.targets + 1))
        return 0, 4 * self.targets + 3

    def sample(self, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
        """One group: M target blocks per sample, each predicted on its own, and their context. Token numbers ascend."""
        self.check(grid)
        make = _reference if self.mode == "reference" else _exact
        context, targets = make(self, (grid[0], grid[1]), shared, uniforms)
        context_index, context_valid = indices(context.reshape(len(uniforms), -1))
        flat, valid = indices(targets.reshape(len(uniforms) * self.targets, -1))
        shape = (len(uniforms), self.targets, -1)
        if self.mode == "reference":  # cut to the shortest, in raster order, as published
            context_index, context_valid = cut_to_shortest(context_index, context_valid, self.together)
        masks = Masks(
            torch.from_numpy(context_index),
            torch.from_numpy(flat.reshape(shape)),
            None if context_valid.all() else torch.from_numpy(context_valid),
            None if valid.all() else torch.from_numpy(valid.reshape(shape)),
        )
        return [masks]


def _exact(config: BlocksConfig, grid: tuple[int, int], _: Uniforms, uniforms: Uniforms) -> tuple[Map, Map]:
    """Context (B, rows, columns) and targets (B, M, rows, columns); sizes, aspects and places drawn independently."""
    tokens = grid[0] * grid[1]
    scale, aspect, down, along = np.split(uniforms[:, : 4 * config.targets], 4, axis=1)  # (B, M) each
    # `sides` takes height / width, but aspect is width / height here.
    height, width = sides(between(config.scale, scale) * tokens, 1 / between(config.aspect, aspect))
    targets = rectangles(grid, np.clip(height, 1, grid[0]), np.clip(width, 1, grid[1]), down, along)
    scale, down, along = uniforms[:, 4 * config.targets :].T
    height, width = sides(between(config.context_scale, scale) * tokens, np.ones(()))
    block = rectangles(grid, np.clip(height, 1, grid[0]), np.clip(width, 1, grid[1]), down, along)
    hidden = np.any(targets, axis=1)
    context = block & ~hidden
    for row in np.flatnonzero(~context.any((1, 2))):  # rare: use all that no target covers
        if np.all(hidden[row]):  # nothing: shrink the targets to one token
            targets[row] = False
            targets[row, :, 0, 0] = True
        context[row] = ~targets[row].any(0)
    return context, targets


def _reference(config: BlocksConfig, grid: tuple[int, int], shared: Uniforms, uniforms: Uniforms) -> tuple[Map, Map]:
    """Like `_exact`, but as in the published collator: a batch has one target size and one context size."""
    batch, tokens = len(uniforms), grid[0] * grid[1]
    # One number sets both scale and aspect, which is height / width here.
    area = np.floor(between(config.scale, shared[0]) * tokens)
    size = _shrunk(*sides(area, between(config.aspect, shared[0])), grid)
    places = uniforms[:, : 2 * config.targets].reshape(batch, config.targets, 2)
    targets = rectangles(grid, *size, places[..., 0], places[..., 1], last=False)
    area = np.floor(between(config.context_scale, shared[1]) * tokens)
    size = _shrunk(*sides(area, np.ones(())), grid)
    context = np.zeros((batch, *grid), bool)
    tries = uniforms[:, 2 * config.targets :].reshape(batch, config.targets + 1, TRIES, 2)
    open_rows = np.arange(batch)
    for level, attempt in np.ndindex(config.targets + 1, TRIES):
        if not len(open_rows):
            return context, targets
        place = tries[open_rows, level, attempt]
        free = rectangles(grid, *size, place[:, 0], place[:, 1], last=False)
        free &= ~targets[open_rows, : config.targets - level].any(1)
        large = free.sum((1, 2)) > config.min_keep
        context[open_rows[large]] = free[large]
        open_rows = open_rows[~large]
    raise ValueError(f"a context block of {size[0]} x {size[1]} tokens never exceeds min_keep {config.min_keep}")


def between(limits: tuple[float, float], uniform: Uniforms) -> Uniforms:
    return limits[0] + uniform * (limits[1] - limits[0])


def sides(area: Uniforms, aspect: Uniforms) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Height and width in whole tokens of rectangles of about `area` tokens. aspect: height / width."""
    return np.round(np.sqrt(area * aspect)).astype(np.int64), np.round(np.sqrt(area / aspect)).astype(np.int64)


def _shrunk(
    height: NDArray[np.int64], width: NDArray[np.int64], grid: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The published collator makes every block smaller than the grid on both axes."""
    return np.minimum(height, grid[0] - 1), np.minimum(width, grid[1] - 1)


def rectangles(
    grid: tuple[int, int],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    down: Uniforms,
    along: Uniforms,
    last: bool = True,
) -> Map:
    """(..., rows, columns): rectangles at uniform places. last: whether the last possible place is used."""
    rows, columns = (
        ((start := (place * (size - side + last)).astype(np.int64))[..., None] <= (line := np.arange(size)))
        & (line < (start + side)[..., None])
        for size, side, place in zip(grid, (height, width), (down, along), strict=True)
    )
    return rows[..., :, None] & columns[..., None, :]


def cut_to_shortest(index: NDArray[np.int64], valid: Map, together: int | None) -> tuple[NDArray[np.int64], Map]:
    """The output of `indices`, cut to the shortest row of every `together` consecutive rows; None: of all rows."""
    size, lengths = together or len(valid), valid.sum(1)
    shortest = np.minimum.reduceat(lengths, np.arange(0, len(lengths), size))
    kept = np.arange(shortest.max()) < np.repeat(shortest, size)[: len(lengths), None]
    return np.where(kept, index[:, : shortest.max()], 0), kept


def indices(member: Map) -> tuple[NDArray[np.int64], Map]:
    """member: (R, N) -> ascending token numbers (R, most), 0 as padding, and which of them are valid (R, most)."""
    counts = member.sum(1)
    valid = np.arange(counts.max(initial=0)) < counts[:, None]
    index = np.zeros(valid.shape, np.int64)
    index[valid] = np.nonzero(member)[1]
    return index, valid
