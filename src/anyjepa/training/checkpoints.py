"""Checkpoints after whole optimiser steps, written completely or not at all. Only the newest are kept."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from anyjepa.errors import InputError, reason
from anyjepa.objectives.batch import Batch
from anyjepa.training.checkpoint_files import best_checkpoints, list_checkpoints, newest_checkpoint, step_of
from anyjepa.training.interrupt import StopRequest
from anyjepa.training.lars import AVERAGE
from anyjepa.training.module import Pretraining
from anyjepa.weights.foreign import read_foreign
from anyjepa.writing import replacing

AVERAGES = {"adamw": ("exp_avg", "exp_avg_sq"), "lars": (AVERAGE,)}  # optimiser state of each parameter
# Keys of a checkpoint that Lightning needs to resume a run.
PARTS = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "pytorch-lightning_version"}


class Checkpoints(L.Callback):
    """Write `step-00001000.ckpt` every `every` steps and when training ends or stops early; keep the newest `keep`.

    stopped: the step after which training stopped before its end; None if it did not.
    """

    def __init__(self, folder: Path, every: int, keep: int, stop: StopRequest):
        self.folder, self.every, self.keep, self.stop = folder, every, keep, stop
        self.stopped: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.listen()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Pretraining)
        step, config = batch.step + 1, pl_module.config
        if batch.micro < config.accumulation - 1:
            return
        if step < config.steps and self._stops(trainer, step, config.log_every):
            self.stopped, trainer.should_stop = step, True
        if step % self.every == 0 or step == config.steps or self.stopped:
            pl_module.check_finite()
            self.save(trainer, step)

    def _stops(self, trainer: L.Trainer, step: int, log_every: int) -> bool:
        """Whether a stop was requested. Ranks agree on the step, and only communicate at logged steps."""
        if trainer.world_size == 1:
            return self.stop.by is not None
        requested = self.stop.by is not None
        return step % log_every == 0 and trainer.strategy.reduce_boolean_decision(requested, all=False)

    def save(self, trainer: L.Trainer, step: int) -> None:
        """Write a checkpoint, and remove old ones. Raises InputError if this fails, such as on a full disk."""
        self._write(trainer, self.folder / f"step-{step:08d}.ckpt")
        self._remove(trainer, list_checkpoints(self.folder)[: -self.keep])

    def save_best(self, trainer: L.Trainer, step: int) -> None:
        """The same for the best checkpoint, of which there is one."""
        before = best_checkpoints(self.folder)
        self._write(trainer, self.folder / f"best-{step:08d}.ckpt")
        self._remove(trainer, before)

    def _write(self, trainer: L.Trainer, path: Path) -> None:
        """Completely or not at all."""
        writes = trainer.is_global_zero
        try:
            with replacing(path) if writes else nullcontext(path) as new:
                trainer.save_checkpoint(new)  # on every rank, because a strategy may gather
        except (InputError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            kept = newest_checkpoint(self.folder)
            advice = f"the last good checkpoint is {kept}" if kept else "there is no earlier checkpoint"
            what = error if isinstance(error, InputError) else f"{path}: cannot be written ({reason(error)})"
            raise InputError(f"{what}; {advice}") from error

    def _remove(self, trainer: L.Trainer, paths: list[Path]) -> None:
        for path in paths if trainer.is_global_zero else ():
            path.unlink(missing_ok=True)


def check_checkpoint(path: Path, module: Pretraining) -> None:
    """Raise InputError unless the file is a checkpoint of this training at the step in its name."""
    advice = "delete it to resume from the checkpoint before it"
    try:
        saved = read_foreign(path)
        _check_bits(path)
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    tensors, expected = saved.get("state_dict"), module.state_dict()
    loops = saved.get("loops")
    whole = saved.keys() >= PARTS and isinstance(loops, dict) and "fit_loop" in loops
    if not whole or not isinstance(tensors, dict):
        raise InputError(f"{path}: is not a training checkpoint; {advice}")
    if _shapes(tensors) != _shapes(expected) or saved.get("global_step") != step_of(path):
        raise InputError(f"{path}: is a checkpoint of another training or step; {advice}")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise InputError(f"{path}: contains weights that are NaN or infinite; {advice}")
    trained = sorted(p.shape for p in module.parameters() if p.requires_grad)
    names = AVERAGES[module.config.optimiser.kind]
    if any(_averages(saved["optimizer_states"], name) != trained for name in names):
        raise InputError(f"{path}: is missing part of the optimiser state; {advice}")


def _check_bits(path: Path) -> None:
    """Raise InputError if a part of the archive does not match its checksum. PyTorch does not check it."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is damaged ({error})") from error
    if damaged:
        raise InputError(f"{path}: is damaged, the checksum of '{damaged}' does not match")


def _shapes(tensors: Mapping[str, object]) -> dict[str, object]:
    return {name: _shape(tensor) if isinstance(tensor, Tensor) else None for name, tensor in tensors.items()}


def _shape(tensor: Tensor) -> torch.Size | None:
    """None for tensors that training never saves: sparse, or without values."""
    return tensor.shape if tensor.layout == torch.strided and not tensor.is_meta else None


def _averages(states: object, name: str) -> list[torch.Size] | None:
    """Sorted shapes of the state `name` of the only optimiser; None if it has no such state."""
    try:
        (state,) = states  # type: ignore[misc]
        return sorted(_shape(one[name]) for one in state["state"].values())  # type: ignore[type-var]
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
