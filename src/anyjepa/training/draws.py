"""The batches of a run: records, crops and masks as a pure function of (seed, step), for any workers and ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from anyjepa.data.dataset import Dataset as Records
from anyjepa.data.pair import Pair
from anyjepa.errors import InputError
from anyjepa.masks.base import Masks, MaskSampler
from anyjepa.objectives.batch import Batch
from anyjepa.parts import LocalModules
from anyjepa.randomness import generator
from anyjepa.training.config import TrainingConfig


class Draw(NamedTuple):
    """One sample of a run: the index of its record, and its position among all draws of the run."""

    index: int
    position: int


class Drawn(NamedTuple):
    """Crops of a micro-batch."""

    draws: list[Draw]
    x: np.ndarray  # (B, C, *samples) float32
    starts: np.ndarray  # (B,) first samples on the first axis
    pair: Pair[np.ndarray] | None = None


class DrawSampler(Sampler[list[Draw]]):
    """Yield micro-batches of draws from `first_step` to the end of the run. `len` counts the whole run.

    shares: (records,) unnormalised probability of each record, for order 'replacement'; None: equal.
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
        self.ends = (
            None if shares is None else np.cumsum(shares) / np.sum(shares)
        )  # of each record's interval in [0, 1)
        if shares is not None and config.order != "replacement":
            raise InputError("records with unequal shares need training.order=replacement")

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
            return np.searchsorted(self.ends[:-1], places, side="right")  # rounding can make the last end less than 1
        if self.config.order == "replacement":
            return generator(seed, "order", step).integers(self.records, size=len(positions))
        epochs, places = np.divmod(positions, self.records)
        parts = [_order(seed, epoch, self.records)[places[epochs == epoch]] for epoch in np.unique(epochs).tolist()]
        return np.concatenate(parts)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, records: int) -> np.ndarray:
    """Order of the records in an epoch, (records,). Cached, because an epoch has many steps."""
    return generator(seed, "order", epoch).permutation(records)


class DrawnCrops(Dataset[Drawn]):
    """A data set that is indexed by micro-batches of draws. A crop depends only on the seed and its position.

    pairs: return pairs instead of crops. batch_size: size of the optimiser batch, needed for pairs.
    """

    def __init__(self, crops: Records, seed: int, pairs: bool = False, batch_size: int = 1):
        self.modules = LocalModules()  # before the crops, which may be of a class of the user
        self.crops, self.seed, self.pairs, self.batch_size = crops, seed, pairs, batch_size

    def __getitems__(self, draws: list[Draw]) -> Drawn:
        records, first = [draw.index for draw in draws], self._rngs(draws, "crop")
        if not self.pairs:
            return Drawn(draws, *self.crops.crops(records, first))
        step = draws[0].position // self.batch_size
        x, pair = self.crops.pairs(records, first, self._rngs(draws, "second crop"), step)
        return Drawn(draws, x, np.zeros(len(draws)), pair)

    def _rngs(self, draws: list[Draw], stream: str) -> list[np.random.Generator]:
        return [generator(self.seed, stream, draw.position) for draw in draws]


class Collate:
    """Add masks to the crops of a micro-batch. Masks are drawn for the whole optimiser batch, then sliced.

    grid: tokens along each axis. stride: samples per token on the first axis, for positions that are places in the
    record (`Batch.start`); None: positions start at 0 in every crop.
    """

    def __init__(self, masks: MaskSampler | None, grid: Sequence[int], sampler: DrawSampler, stride: int | None = None):
        self.masks, self.grid, self.sampler, self.stride = masks, tuple(grid), sampler, stride

    def __call__(self, drawn: Drawn) -> Batch:
        config = self.sampler.config
        step, place = divmod(drawn.draws[0].position, config.batch_size)
        micro = place // (self.sampler.world * self.sampler.micro_size)
        start = None if self.stride is None else torch.from_numpy(drawn.starts) / self.stride
        masks = [] if self.masks is None else step_masks(self.masks, self.grid, config, step)
        return Batch(
            torch.from_numpy(drawn.x),
            samples=config.batch_size,
            targets=[group.count() for group in masks],
            masks=[group.rows(self.sampler.rows(micro)) for group in masks],
            start=start,
            pair=None if drawn.pair is None else Pair(*(_tensor(array) for array in drawn.pair)),
            records=[draw.index for draw in drawn.draws],
            step=step,
            micro=micro,
        )


def step_masks(masks: MaskSampler, grid: tuple[int, ...], config: TrainingConfig, step: int) -> list[Masks]:
    """Groups of masks of one step, for the whole optimiser batch. grid: tokens along each axis."""
    return masks.draw(grid, config.batch_size, generator(config.seed, "masks", step))


def _tensor(array: np.ndarray | None) -> Any:
    return None if array is None else torch.from_numpy(array)
