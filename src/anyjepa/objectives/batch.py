"""What an objective is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from anyjepa.data.pair import Pair
from anyjepa.masks.base import Masks


class Batch(NamedTuple):
    """A micro-batch, and how much the whole optimiser batch holds.

    An objective divides its sums by the size of the optimiser batch. The losses of all micro-batches and ranks then
    add up to the mean over the optimiser batch, whatever its division. `Batch.whole` makes a batch by hand.
    """

    x: Tensor  # (B, C, *samples)
    samples: int  # samples in the optimiser batch, over all micro-batches and ranks
    targets: Sequence[int] = ()  # target tokens in the optimiser batch, one number per group of masks
    masks: Sequence[Masks] = ()  # the groups of masks of these B samples
    start: Tensor | None = None  # (B,) first token's place on the first axis, in tokens; None: 0
    pair: Pair[Tensor] | None = None  # what x is paired with, for objectives that learn from pairs
    records: Sequence[int] = ()  # (B,) numbers of the records in the data set, for messages
    step: int = 0  # finished optimiser steps
    micro: int = 0  # number of this micro-batch in its optimiser step

    @classmethod
    def whole(
        cls,
        x: Tensor,
        masks: Sequence[Masks] = (),
        start: Tensor | None = None,
        pair: Pair[Tensor] | None = None,
    ) -> Batch:
        """A batch that is the whole optimiser batch."""
        return cls(x, len(x), [group.count() for group in masks], masks, start, pair)
