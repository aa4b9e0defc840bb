"""One training run on Lightning's Trainer."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader

from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.training.checkpoints import Checkpoints, newest_checkpoint
from anyjepa.training.config import TrainingConfig
from anyjepa.training.draws import Collate, Crops, DrawnCrops, DrawSampler
from anyjepa.training.logs import Log
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision


def fit(
    objective: MaskedPrediction,
    config: TrainingConfig,
    crops: Crops,
    folder: Path,
    *,
    resume: bool = False,
    absolute_time: bool = False,
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    progress: bool = True,
) -> None:
    """Train `objective` in place; checkpoints and metrics.csv go to `folder`.

    resume: go on from the newest checkpoint; the numbers are those of a run that was never stopped.
    absolute_time: a crop's positions are its place in the record, instead of starting at 0 (ECG-JEPA).
    Raises DivergedError if the loss stops being finite, InputError if a checkpoint cannot be written.
    """
    checkpoints = folder / "checkpoints"
    newest = newest_checkpoint(checkpoints) if resume else None
    first_step = step_of(newest) if newest else 0
    module = Pretraining(objective, config, crops.ids)
    with quiet_lightning():
        trainer = L.Trainer(
            accelerator="auto",
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=lightning_precision(config.precision),  # type: ignore[arg-type]
            max_steps=config.steps,
            accumulate_grad_batches=config.accumulation,
            gradient_clip_val=config.optimiser.clip,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=[_logger(name, folder) for name in config.loggers] or False,
            callbacks=[
                Log(folder / "metrics.csv", progress),
                Checkpoints(checkpoints, config.checkpoint_every, config.keep_checkpoints),
            ],
            default_root_dir=folder,
        )
        loader = _Loader(config, crops, objective, first_step, absolute_time)
        trainer.fit(module, datamodule=loader, ckpt_path=newest, weights_only=True)
    module.check_finite()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's advice and its own use of deprecated functions; errors and our warnings pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\.")
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("step-"))


class _Loader(L.LightningDataModule):
    """Micro-batches from `first_step` on, this rank's share of them."""

    def __init__(
        self, config: TrainingConfig, crops: Crops, objective: MaskedPrediction, first_step: int, absolute: bool
    ):
        super().__init__()
        self.config, self.crops, self.first_step = config, crops, first_step
        self.masks, self.grid = objective.config.masks, objective.student.grid
        self.stride = objective.config.encoder.patch[0] if absolute else None

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = DrawSampler(self.config, len(self.crops), self.first_step, rank, world)
        return DataLoader(
            DrawnCrops(self.crops, self.config.seed),
            batch_sampler=sampler,
            collate_fn=Collate(self.masks, self.grid, sampler, self.stride),
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )


def _logger(name: str, folder: Path) -> Any:
    if name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(save_dir=folder)
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="")
