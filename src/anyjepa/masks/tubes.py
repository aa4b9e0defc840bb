"""The space-time masks of V-JEPA: rectangles through all frames are targets, the rest is the context."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Few, Share
from anyjepa.masks.base import Masks, MaskSampler, Uniforms
from anyjepa.masks.blocks import between, cut_to_shortest, indices, rectangles, sides


class TubeGroup(Config):
    """One group of targets: the union of several blocks of one size."""

    blocks: Few = Field(description="blocks per clip; they may overlap")
    scale: tuple[Share, Share] = Field(description="share of a frame's tokens in a block")
    aspect: tuple[PositiveFloat, PositiveFloat] = Field(default=(0.75, 1.5), description="a block's height / width")


class TubesConfig(MaskSampler):
    """Blocks through all frames, in groups with one context each (Bardes et al. 2024, section 3.2)."""

    kind: Literal["tubes"] = "tubes"
    groups: tuple[TubeGroup, ...] = Field(
        default=(TubeGroup(blocks=8, scale=(0.15, 0.15)), TubeGroup(blocks=2, scale=(0.7, 0.7))),
        min_length=1,
        description="short-range and long-range targets, as published",
    )
    mode: Literal["exact", "reference"] = Field(
        default="exact",
        description="exact: samples differ in length; reference, as published: samples are cut to the shortest in "
        "raster order, so late frames are rarely context, block areas are rounded down, and all groups have one aspect",
    )
    together: PositiveInt | None = Field(
        default=None,
        description="reference only: number of samples that are cut to the shortest among them (published: those of a "
        "process); none: the whole optimiser batch",
    )

    @model_validator(mode="after")
    def _ordered(self) -> TubesConfig:
        for group in self.groups:
            if not 0 < group.scale[0] <= group.scale[1] < 1 or group.aspect[0] > group.aspect[1]:
                raise ValueError(f"a group needs 0 < scale < 1 and low <= high, got {group.scale}, {group.aspect}")
        return self

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError unless `grid` is (frames, rows, columns) with room for context and targets."""
        if len(grid) != 3 or min(grid[1:]) < 2:
            raise ValueError(f"tubes need a grid of frames x at least 2 x 2 tokens, got {' x '.join(map(str, grid))}")

    def draws(self, grid: tuple[int, ...]) -> tuple[int, int]:
        return 2 * len(self.groups), 2 * sum(group.blocks for group in self.groups)

    def sample(self, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
        """One `Masks` per group, with the union of its blocks as one target block.

        As published, a batch has one block size per group.
        """
        self.check(grid)
        frames, tokens, reference = grid[0], grid[1] * grid[2], self.mode == "reference"
        sizes = shared.reshape(-1, 2)
        if reference:  # the published generators of all groups have one seed
            sizes = np.broadcast_to(sizes[0], sizes.shape)
        parts = np.split(uniforms, np.cumsum([2 * group.blocks for group in self.groups])[:-1], axis=1)
        masks = []
        for group, (scale, aspect), places in zip(self.groups, sizes, parts, strict=True):
            area = between(group.scale, scale) * tokens
            height, width = sides(np.floor(area) if reference else area, between(group.aspect, aspect))
            size = np.clip(height, 1, grid[1]), np.clip(width, 1, grid[2])
            blocks = rectangles((grid[1], grid[2]), *size, places[:, ::2], places[:, 1::2])
            # A fully hidden frame leaves no context: drop the last block, then the one before, but never the first.
            for keep in range(group.blocks - 1, 0, -1):
                full = np.all(np.any(blocks, axis=1), axis=(1, 2))
                if not full.any():
                    break
                blocks[full, keep] = False
            hidden = np.any(blocks, axis=1)
            hidden[np.all(hidden, axis=(1, 2)), -1] = False  # a block over the whole frame: its last row stays visible
            hidden = np.repeat(hidden[:, None], frames, axis=1)  # (B, frames, rows, columns)
            hidden = hidden.reshape(len(hidden), -1)
            (context, seen), (targets, hides) = indices(~hidden), indices(hidden)
            if reference:
                context, seen = cut_to_shortest(context, seen, self.together)
                targets, hides = cut_to_shortest(targets, hides, self.together)
            masks.append(
                Masks(
                    torch.from_numpy(context),
                    torch.from_numpy(targets[:, None]),
                    None if seen.all() else torch.from_numpy(seen),
                    None if hides.all() else torch.from_numpy(hides[:, None]),
                )
            )
        return masks
