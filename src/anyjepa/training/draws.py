"""What each step sees, a pure function of (seed, step): records, crops and masks, for any workers and ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from anyjepa.data.dataset import Pairs
from anyjepa.errors import InputError
from anyjepa.masks.base import Masks
from anyjepa.masks.sampling import MasksConfig, draws, sample
from anyjepa.objectives.base import Pair
from anyjepa.randomness import generator
from anyjepa.training.config import TrainingConfig


class Crops(Protocol):
    """What pretraining needs of a data set."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...
    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """A crop of each record by its own generator: (B, C, *samples) float32, and (B,) first samples."""
        ...

    def pairs(
        self,
        indices: Sequence[int],
        first: Sequence[np.random.Generator],
        second: Sequence[np.random.Generator],
        step: int,
    ) -> Pairs:
        """A pair of each record, for objectives that learn from pairs."""
        ...


class Draw(NamedTuple):
    """One sample of a run: which record, and its number among all draws of the run."""

    index: int
    position: int


class Batch(NamedTuple):
    """One micro-batch. `records` are numbers of the data set, `step` counts finished optimiser steps."""

    x: Tensor  # (B, C, *samples)
    masks: list[Masks]
    start: Tensor | None  # (B,) first token's place in its record, in tokens
    records: list[int]
    step: int
    micro: int
    pair: Pair | None = None  # what x is paired with, where the objective learns from pairs


class Drawn(NamedTuple):
    """Crops of a micro-batch."""

    draws: list[Draw]
    x: np.ndarray  # (B, C, *samples) float32
    starts: np.ndarray  # (B,) first samples on the first axis
    pairs: Pairs | None = None  # x and what it is paired with


class DrawSampler(Sampler[list[Draw]]):
    """Yields micro-batches of draws from `first_step` to the end of the run. `len` counts those of the whole run.

    shares: (records,) probability of each record, up to a factor, for order 'replacement'; None: the same for all.
    """

    def __init__(
        self,
        config: TrainingConfig,
        records: int,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
        shares: np.ndarray | None = None,
    ):
        share = config.accumulation * world
        if config.batch_size % share:
            raise InputError(f"batch_size {config.batch_size} is not a multiple of {share} (accumulation x devices)")
        self.config, self.records, self.first_step = config, records, first_step
        self.rank, self.world, self.micro_size = rank, world, config.batch_size // share
        self.ends = None if shares is None else np.cumsum(shares) / np.sum(shares)  # of each record's part of [0, 1)
        if shares is not None and config.order != "replacement":
            raise InputError("records with shares of their own are drawn with replacement: training.order=replacement")

    def __len__(self) -> int:
        return self.config.steps * self.config.accumulation

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.first_step, self.config.steps):
            positions = step * self.config.batch_size + np.arange(self.config.batch_size)
            indices = self._records(step, positions)
            for micro in range(self.config.accumulation):
                rows = self.rows(micro)
                yield [Draw(int(i), int(p)) for i, p in zip(indices[rows], positions[rows], strict=True)]

    def rows(self, micro: int) -> slice:
        """This rank's rows of the optimiser batch in micro-batch `micro`."""
        first = (micro * self.world + self.rank) * self.micro_size
        return slice(first, first + self.micro_size)

    def _records(self, step: int, positions: np.ndarray) -> np.ndarray:
        seed = self.config.seed
        if self.ends is not None:
            places = generator(seed, "order", step).random(len(positions))
            return np.searchsorted(self.ends[:-1], places, side="right")  # the last end may be rounded below 1
        if self.config.order == "replacement":
            return generator(seed, "order", step).integers(self.records, size=len(positions))
        epochs, places = np.divmod(positions, self.records)
        parts = [_order(seed, epoch, self.records)[places[epochs == epoch]] for epoch in np.unique(epochs).tolist()]
        return np.concatenate(parts)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, records: int) -> np.ndarray:
    """The records of an epoch in their order, (records,). Kept, because an epoch has many steps."""
    return generator(seed, "order", epoch).permutation(records)


class DrawnCrops(Dataset[Drawn]):
    """A data set indexed by micro-batches of draws: a draw's crop depends on nothing but the seed and its position.

    pairs: each record gives a pair in place of a crop; then batch_size is that of an optimiser step.
    """

    def __init__(self, crops: Crops, seed: int, pairs: bool = False, batch_size: int = 1):
        self.crops, self.seed, self.pairs, self.batch_size = crops, seed, pairs, batch_size

    def __getitems__(self, draws: list[Draw]) -> Drawn:
        records, first = [draw.index for draw in draws], self._rngs(draws, "crop")
        if not self.pairs:
            return Drawn(draws, *self.crops.crops(records, first))
        step = draws[0].position // self.batch_size
        pairs = self.crops.pairs(records, first, self._rngs(draws, "second crop"), step)
        return Drawn(draws, pairs.x, np.zeros(len(draws)), pairs)

    def _rngs(self, draws: list[Draw], stream: str) -> list[np.random.Generator]:
        return [generator(self.seed, stream, draw.position) for draw in draws]


class Collate:
    """Adds masks to a micro-batch's crops: the whole batch's numbers are drawn, this rank's rows kept.

    grid: tokens along each axis; stride: samples of a token on the first axis, to give each crop its place in its
    record (`start`), None for positions that begin at 0 in every crop.
    """

    def __init__(self, masks: MasksConfig | None, grid: Sequence[int], sampler: DrawSampler, stride: int | None = None):
        self.masks, self.grid, self.sampler, self.stride = masks, tuple(grid), sampler, stride

    def __call__(self, drawn: Drawn) -> Batch:
        config = self.sampler.config
        step, place = divmod(drawn.draws[0].position, config.batch_size)
        micro = place // (self.sampler.world * self.sampler.micro_size)
        start = None if self.stride is None else torch.from_numpy(drawn.starts) / self.stride
        drawn_masks = [] if self.masks is None else step_masks(self.masks, self.grid, config, step)
        masks = [group.rows(self.sampler.rows(micro)) for group in drawn_masks]
        pair = None if drawn.pairs is None else Pair(*(_tensor(array) for array in drawn.pairs[1:]))
        return Batch(torch.from_numpy(drawn.x), masks, start, [d.index for d in drawn.draws], step, micro, pair)


def step_masks(masks: MasksConfig, grid: tuple[int, ...], config: TrainingConfig, step: int) -> list[Masks]:
    """The groups of masks of a step's whole optimiser batch. grid: tokens along each axis."""
    rng, (shared, own) = generator(config.seed, "masks", step), draws(masks, grid)
    return sample(masks, grid, rng.random(shared), rng.random((config.batch_size, own)))


def _tensor(array: np.ndarray | None) -> Any:
    return None if array is None else torch.from_numpy(array)
