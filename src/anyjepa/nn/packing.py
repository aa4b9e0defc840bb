"""Ragged batches without wasted work: tokens of all samples in one (S, D) tensor, and where each belongs.

LayerNorm, MLP and projections run on packed tokens; only attention needs the padded view. Where all samples have
the same number of tokens, both views share memory and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which rows of a padded (batch, length) grid are tokens. `valid`: (batch, length) bool, None where all are."""

    batch: int
    length: int
    valid: Tensor | None = None

    @cached_property
    def rows(self) -> Tensor:
        """Flat places of the valid tokens in the padded grid, (S,)."""
        assert self.valid is not None
        return self.valid.flatten().nonzero().squeeze(1)

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, length, ...) -> (S, ...), padding dropped."""
        flat = padded.flatten(0, 1)
        return flat if self.valid is None else flat[self.rows]

    def pad(self, packed: Tensor) -> Tensor:
        """(S, ...) -> (batch, length, ...), zeros where there is no token."""
        if self.valid is None:
            return packed.unflatten(0, (self.batch, self.length))
        flat = packed.new_zeros(self.batch * self.length, *packed.shape[1:])
        return flat.index_copy(0, self.rows, packed).unflatten(0, (self.batch, self.length))

    def spread(self, per_sample: Tensor) -> Tensor:
        """(batch, ...) -> (S, ...): each token gets its sample's value."""
        return self.pack(per_sample.unsqueeze(1).expand(-1, self.length, *per_sample.shape[1:]))

    def with_prefix(self, tokens: int) -> Layout:
        """The layout after `tokens` tokens, always valid, were put in front of every sample."""
        if self.valid is None:
            return Layout(self.batch, self.length + tokens)
        front = self.valid.new_ones(self.batch, tokens)
        return Layout(self.batch, self.length + tokens, torch.cat([front, self.valid], dim=1))


class Packed(NamedTuple):
    """Tokens (S, D) and their layout."""

    values: Tensor
    layout: Layout

    def padded(self) -> Tensor:
        """(batch, length, D), zeros where there is no token."""
        return self.layout.pad(self.values)


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """values: (B, N, D) or (N, D) shared by the batch; index: (B, ...) of rows -> (B, ..., D)."""
    if values.ndim == 2:
        return values[index]
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).unflatten(1, index.shape[1:])
