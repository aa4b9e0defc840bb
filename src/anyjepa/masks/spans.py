"""The span masks of ECG-JEPA: contiguous runs of time are hidden, in all leads together."""

from __future__ import annotations

from math import ceil, prod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from anyjepa.config import Share
from anyjepa.masks.base import Masks, MaskSampler, Uniforms


class SpanConfig(MaskSampler):
    """Hide contiguous runs of time; all leads of a window are hidden together (Weimann & Conrad 2024, section 3)."""

    kind: Literal["spans"] = "spans"
    keep: tuple[Share, Share] = Field(
        default=(0.15, 0.25), description="share of tokens left visible, drawn once per step"
    )
    min_span: PositiveInt = Field(
        default=10, description="shortest hidden run, in tokens; 10 tokens of 50 ms hide a whole P wave"
    )
    edges: Literal["reference", "uniform"] = Field(
        default="reference",
        description="reference, as published: hides the ends of a record less often than its middle (0.23 : 0.91); "
        "uniform: shifts each pattern by a random offset, wrapping around, so every token is hidden equally often",
    )

    @model_validator(mode="after")
    def _ordered(self) -> SpanConfig:
        if not 0 < self.keep[0] <= self.keep[1] < 1:
            raise ValueError(f"keep must be 0 < low <= high < 1, got {self.keep}")
        return self

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if a keep ratio would leave no time visible or hide none."""
        tokens, (low, high) = grid[0], self.keep
        if not 0 < ceil(low * tokens) <= ceil(high * tokens) < tokens:
            raise ValueError(
                f"{tokens} tokens cannot be split into context and targets at a keep ratio of {low} to {high}"
            )

    def draws(self, grid: tuple[int, ...]) -> tuple[int, int]:
        """One number sets the keep ratio of the batch. A sample needs three per interval, and one for the offset."""
        return 1, 3 * _most_rounds(self, grid[0]) + 1

    def sample(self, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
        """One block of targets per sample. Every row hides exactly the same number of tokens.

        Time is the first axis of the grid; tokens that differ only on other axes are hidden together. If fewer times
        than `min_span` are to be hidden, they form one run (the reference fails there).
        """
        tokens, (low, high) = grid[0], self.keep
        kept = ceil((low + (high - low) * float(shared[0])) * tokens)
        if not 0 < kept < tokens:
            raise ValueError(
                f"{tokens} tokens cannot be split into context and targets at a keep ratio of {low} to {high}"
            )
        visible = _visible(tokens, tokens - kept, min(self.min_span, tokens - kept), uniforms)
        if self.edges == "uniform":
            turn = (uniforms[:, -1:] * tokens).astype(np.int64)
            visible = np.take_along_axis(visible, (np.arange(tokens) + turn) % tokens, axis=1)
        places = np.broadcast_to(np.arange(tokens), visible.shape)
        rest = np.arange(prod(grid[1:]))
        context, targets = (
            torch.from_numpy((places[chosen][:, None] * len(rest) + rest).reshape(-1, count * len(rest)))
            for chosen, count in ((visible, kept), (~visible, tokens - kept))
        )
        return [Masks(context, targets[:, None])]


def _visible(tokens: int, budget: int, min_span: int, uniforms: Uniforms) -> NDArray[np.bool_]:
    """(B, tokens): the published interval algorithm, one round per interval, all samples at once."""
    batch, rounds = len(uniforms), (uniforms.shape[1] - 1) // 3
    rows = np.arange(batch)
    starts, ends = np.zeros((2, batch, rounds + 1), np.int64)  # free intervals [start, end); empty ones are never drawn
    ends[:, 0] = tokens
    left = np.full(batch, budget)
    for step in range(rounds):
        if not left.any():
            break
        where, size_draw, place_draw = uniforms[:, 3 * step : 3 * step + 3].T
        lengths = np.cumsum(ends[:, : step + 1] - starts[:, : step + 1], axis=1)
        pick = (lengths <= (where * lengths[:, -1])[:, None]).sum(1)  # with probability proportional to length
        start, end = starts[rows, pick], ends[rows, pick]
        long_rest = left >= min_span
        size = np.where(long_rest, min_span + (size_draw * (left - min_span + 1)).astype(np.int64), left)
        size = np.minimum(size, end - start)
        last = end - size  # the last place where the run can start
        anywhere = start + (place_draw * (last - start + 1)).astype(np.int64)
        # A short rest must touch hidden tokens: an interval's ends do, except at the ends of the record.
        at_left = np.where(start == 0, False, np.where(end == tokens, True, place_draw < 0.5))
        hidden = np.where(long_rest, anywhere, np.where(at_left, start, last))
        done = left == 0
        size = np.where(done, 0, size)
        ends[rows, pick] = np.where(done, end, hidden)
        starts[:, step + 1] = np.where(done, 0, hidden + size)
        ends[:, step + 1] = np.where(done, 0, end)
        left -= size
    edges = np.zeros((batch, tokens + 1), np.int64)
    np.add.at(edges, (rows[:, None], starts), 1)
    np.add.at(edges, (rows[:, None], ends), -1)
    return edges.cumsum(1)[:, :-1] > 0


def _most_rounds(config: SpanConfig, tokens: int) -> int:
    """Every round hides a whole interval or at least `min_span` tokens; the rest takes one more round."""
    budget = tokens - ceil(config.keep[0] * tokens)
    return 2 * (budget // min(config.min_span, max(budget, 1))) + 2
