"""Checkpoints on optimiser-step boundaries: whole or not there, the newest few kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

import lightning as L

from anyjepa.errors import InputError
from anyjepa.training.draws import Batch
from anyjepa.training.module import Pretraining


class Checkpoints(L.Callback):
    """Writes `step-00001000.ckpt` every `every` steps and at the end; keeps the newest `keep`."""

    def __init__(self, folder: Path, every: int, keep: int):
        self.folder, self.every, self.keep = folder, every, keep

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Pretraining)
        step, config = batch.step + 1, pl_module.config
        if batch.micro == config.accumulation - 1 and (step % self.every == 0 or step == config.steps):
            pl_module.check_finite()
            self.save(trainer, step)

    def save(self, trainer: L.Trainer, step: int) -> None:
        """Write under another name, then rename: a reader never sees half a file. A full disk raises InputError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.ckpt"
        part = path.with_suffix(".part")
        try:
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                _flush(part)
                os.replace(part, path)
                for old in list_checkpoints(self.folder)[: -self.keep]:
                    old.unlink()
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            part.unlink(missing_ok=True)
            kept = newest_checkpoint(self.folder)
            raise InputError(f"{path}: could not be written ({error}); the last good checkpoint is {kept}") from error


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+\.ckpt", p.name))


def newest_checkpoint(folder: Path) -> Path | None:
    return next(reversed(list_checkpoints(folder)), None)


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
