"""Occlusion: how the answer of a classifier changes if a part of the record is hidden (Zeiler & Fergus 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import ceil, prod
from typing import NamedTuple

import numpy as np

MOST_PLACES = 64  # along each axis of a full input


class Part(NamedTuple):
    """A part of a record (C, *samples): one of its channels, or all of them (None), and a range along each axis."""

    channel: int | None
    box: tuple[slice, ...]

    @property
    def index(self) -> tuple[slice, ...]:
        """What indexes the part in the record."""
        channel = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        return (channel, *self.box)


@dataclass(frozen=True)
class Grid:
    """The parts of a record: all channels together at each place and, if `apart`, also each channel by itself.

    Then each channel is also hidden from beginning to end. edges: of the places along each axis, in samples, (K + 1,).
    """

    channels: int
    edges: tuple[np.ndarray, ...]
    apart: bool

    @classmethod
    def of(cls, shape: Sequence[int], width: Sequence[int]) -> Grid:
        """The grid of a record of `shape` (C, *samples). width: samples of a place along each axis; the last is cut.

        Channels are hidden apart if there are several along one axis, such as the leads of an ECG.
        """
        edges = tuple(np.append(np.arange(0, size, step), size) for size, step in zip(shape[1:], width, strict=True))
        return cls(shape[0], edges, len(edges) == 1 and shape[0] > 1)

    def __len__(self) -> int:
        return self.places * (1 + self.channels * self.apart) + self.channels * self.apart

    def __iter__(self) -> Iterator[Part]:
        boxes = list(product(*([slice(int(a), int(b)) for a, b in pairwise(axis)] for axis in self.edges)))
        yield from (Part(None, box) for box in boxes)
        if self.apart:
            whole = slice(0, int(self.edges[0][-1]))
            yield from (Part(channel, box) for channel in range(self.channels) for box in boxes)
            yield from (Part(channel, (whole,)) for channel in range(self.channels))

    @property
    def places(self) -> int:
        """Number of places, K along one axis."""
        return prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Places along each axis."""
        return tuple(len(axis) - 1 for axis in self.edges)

    def together(self, effects: np.ndarray) -> np.ndarray:
        """Effects of all parts (P,) -> those of all channels together, (*shape)."""
        return effects[: self.places].reshape(self.shape)

    def by_channel(self, effects: np.ndarray) -> np.ndarray:
        """Effects of all parts (P,) -> those of each channel at each place, (C, K), or (1, *shape) if not `apart`."""
        if not self.apart:
            return self.together(effects)[None]
        return effects[self.places : self.places * (1 + self.channels)].reshape(self.channels, -1)


class OccludedSamples:
    """`Samples`: a record (C, *samples), then the record without each part of a grid.

    A hidden part gets `neutral` (C,), a value per channel.
    """

    def __init__(self, record: np.ndarray, grid: Grid, neutral: np.ndarray):
        self.record, self.grid = record, grid
        self.ids = tuple(map(str, range(1 + len(grid))))
        self.lengths = np.full(len(self.ids), record.shape[1])
        self._neutral = neutral.reshape(-1, *[1] * (record.ndim - 1))

    @cached_property
    def _parts(self) -> list[Part]:
        return list(self.grid)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 0:
            return self.record
        hidden, part = self.record.copy(), self._parts[index - 1].index
        hidden[part] = self._neutral[part[0]]
        return hidden


def place_width(size: Sequence[int], patch: Sequence[int], tokens: int | None) -> tuple[int, ...]:
    """Samples of a place along each axis: `tokens` patches, or as few that a full input has at most 64 places."""
    return tuple(
        step * (tokens or ceil(max(1, length // step) / MOST_PLACES)) for length, step in zip(size, patch, strict=True)
    )


def log_odds(logits: np.ndarray, exclusive: bool) -> np.ndarray:
    """Log-odds of each class from logits (N, C): ln(p / (1 - p)). Of exclusive classes, p is the softmax."""
    if not exclusive or logits.shape[1] == 1:
        return logits.astype(float)
    rows = logits.astype(float)
    others = [np.logaddexp.reduce(np.delete(rows, place, 1), axis=1) for place in range(rows.shape[1])]
    return rows - np.stack(others, axis=1)
