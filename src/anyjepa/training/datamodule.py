"""The data of a run as a LightningDataModule."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from anyjepa.data.dataset import Dataset
from anyjepa.objectives.base import Objective
from anyjepa.signals import ignore_signals
from anyjepa.training.config import TrainingConfig
from anyjepa.training.draws import Collate, DrawnCrops, DrawSampler


class PretrainingData(L.LightningDataModule):
    """Micro-batches of a run from `first_step` on, for this rank. Works with any Lightning Trainer.

    absolute: positions of crops are their places in the record. shares: share of the draws per record; None: equal.
    """

    def __init__(
        self,
        config: TrainingConfig,
        crops: Dataset,
        objective: Objective,
        first_step: int = 0,
        absolute: bool = False,
        shares: np.ndarray | None = None,
    ):
        super().__init__()
        self.config, self.crops, self.first_step, self.shares = config, crops, first_step, shares
        self.masks, self.grid, self.pairs = objective.masks, objective.student.grid, objective.pairs
        self.stride = objective.student.config.patch[0] if absolute else None

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = DrawSampler(self.config, len(self.crops), self.first_step, rank, world, self.shares)
        return DataLoader(
            DrawnCrops(self.crops, self.config.seed, self.pairs, self.config.batch_size),
            batch_sampler=sampler,
            collate_fn=Collate(self.masks, self.grid, sampler, self.stride),  # pyright: ignore[reportArgumentType]
            num_workers=self.config.workers,
            worker_init_fn=ignore_signals,
            persistent_workers=self.config.workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )
