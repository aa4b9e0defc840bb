"""Ragged batches without wasted work: the tokens of all samples in one (S, D) tensor, and their layout.

LayerNorm, MLPs and projections run on packed tokens. Only attention needs a padded view, and gets a few buckets of
samples with similar lengths. If all samples have the same number of tokens, all views share memory without copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 16  # lengths of buckets are multiples of it: softmax over 23 keys takes twice as long as over 32
BUCKETS = 8  # most per ragged batch: longer samples have wider buckets


@dataclass(frozen=True)
class Layout:
    """Which rows of a padded (batch, length) grid are tokens. valid: (batch, length) bool, None if all are."""

    batch: int
    length: int
    valid: Tensor | None = None

    @cached_property
    def rows(self) -> Tensor:
        """Flat indices of the valid tokens in the padded grid, (S,)."""
        assert self.valid is not None
        return self.valid.flatten().nonzero().squeeze(1)

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, length, ...) -> (S, ...), padding dropped."""
        return take(padded.flatten(0, 1), None if self.valid is None else self.rows)

    def pad(self, packed: Tensor) -> Tensor:
        """(S, ...) -> (batch, length, ...), zeros as padding."""
        if self.valid is None:
            return packed.unflatten(0, (self.batch, self.length))
        flat = packed.new_zeros(self.batch * self.length, *packed.shape[1:])
        return flat.index_copy_(0, self.rows, packed).unflatten(0, (self.batch, self.length))

    @cached_property
    def _buckets(self) -> tuple[list[Layout], Tensor]:
        """Layouts of the buckets, shortest first, and the index of each packed token in their concatenation."""
        assert self.valid is not None
        lengths, width = self.valid.sum(1), WIDTH * ceil(self.length / (WIDTH * BUCKETS))
        rounded = (lengths + width - 1) // width * width
        begins = torch.empty_like(lengths)  # of each sample's tokens
        layouts, offset = [], 0
        for length in rounded.unique().tolist():
            samples = (rounded == length).nonzero().squeeze(1)
            places = torch.arange(max(len(samples), length), device=samples.device)
            layouts.append(Layout(len(samples), length, places[:length] < lengths[samples, None]))
            begins[samples] = offset + places[: len(samples)] * length
            offset += len(samples) * length
        number = (self.valid.cumsum(1) - 1).flatten()[self.rows]  # of each token in its sample
        return layouts, begins[self.rows // self.length] + number

    def split(self, packed: Tensor) -> list[tuple[Layout, Tensor]]:
        """(S, ...) -> each bucket's layout and tokens (b, length, ...). Padding follows a sample's tokens."""
        if self.valid is None:
            return [(self, self.pad(packed))]
        layouts, places = self._buckets
        sizes = [layout.batch * layout.length for layout in layouts]
        flat = packed.new_zeros(sum(sizes), *packed.shape[1:]).index_copy_(0, places, packed)
        parts = zip(layouts, flat.split(sizes), strict=True)
        return [(layout, part.unflatten(0, (layout.batch, layout.length))) for layout, part in parts]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The tensors (b, length, ...) of all buckets -> (S, ...): the inverse of `split`."""
        if self.valid is None:
            return self.pack(parts[0])
        return take(torch.cat([part.flatten(0, 1) for part in parts]), self._buckets[1])

    def spread(self, per_sample: Tensor) -> Tensor:
        """(batch, ...) -> (S, ...): repeats each sample's value for its tokens."""
        return self.pack(per_sample.unsqueeze(1).expand(-1, self.length, *per_sample.shape[1:]))

    def last(self, count: int, device: torch.device) -> Tensor:
        """Indices of the packed tokens in the last `count` places of their sample, (R,)."""
        if self.valid is None:  # no `nonzero`, which waits for a GPU and breaks a compiled graph
            places = torch.arange(self.batch * self.length, device=device).unflatten(0, (self.batch, self.length))
            return places[:, self.length - count :].flatten()
        return (self.rows % self.length >= self.length - count).nonzero().squeeze(1)

    def with_prefix(self, tokens: int) -> Layout:
        """The layout with `tokens` more tokens, always valid, before every sample."""
        if self.valid is None:
            return Layout(self.batch, self.length + tokens)
        front = self.valid.new_ones(self.batch, tokens)
        return Layout(self.batch, self.length + tokens, torch.cat([front, self.valid], dim=1))


class Packed(NamedTuple):
    """Tokens (S, D) and their layout."""

    values: Tensor
    layout: Layout

    def padded(self) -> Tensor:
        """(batch, length, D), zeros as padding."""
        return self.layout.pad(self.values)


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """values: (B, N, D) or (N, D) shared by the batch; index: (B, ...) of rows -> (B, ..., D)."""
    if values.ndim == 2:
        return F.embedding(index, values)  # values[index], with a faster gradient for learned positions
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).unflatten(1, index.shape[1:])


def take(values: Tensor, rows: Tensor | None) -> Tensor:
    """values[rows], for distinct rows. None: all values."""
    return values if rows is None else _Take.apply(values, rows)  # type: ignore[return-value]


class _Take(torch.autograd.Function):
    """Rows are distinct, so gradients are copied instead of added up, which is much faster."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.count = len(values)
        return values.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (rows,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.count, *gradient.shape[1:]).index_copy_(0, rows, gradient), None
