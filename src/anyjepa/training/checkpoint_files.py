"""The names of checkpoints in a folder; imports neither torch nor lightning."""

from __future__ import annotations

import re
from pathlib import Path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+\.ckpt", p.name))


def best_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint with the best score of the evaluation during training, if there is one."""
    return sorted(p for p in folder.glob("best-*.ckpt") if re.fullmatch(r"best-\d+\.ckpt", p.name))


def newest_checkpoint(folder: Path) -> Path | None:
    return next(reversed(list_checkpoints(folder)), None)


def finished(folder: Path, steps: int) -> bool:
    """Whether the folder contains the checkpoint of the last step."""
    newest = newest_checkpoint(folder)
    return newest is not None and step_of(newest) == steps


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("-")[2])
