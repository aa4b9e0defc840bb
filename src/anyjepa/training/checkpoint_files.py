"""Find the checkpoints in a folder by their names; imports neither torch nor lightning."""

from __future__ import annotations

import re
from pathlib import Path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return _checkpoints(folder, "step")


def best_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint with the best score of the evaluation during training, if there is one."""
    return _checkpoints(folder, "best")


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the latest step."""
    return next(reversed(list_checkpoints(folder)), None)


def finished(folder: Path, steps: int) -> bool:
    """Whether the folder contains the checkpoint of the last step."""
    newest = newest_checkpoint(folder)
    return newest is not None and step_of(newest) == steps


def step_of(checkpoint: Path) -> int:
    """The optimiser step in the name of a checkpoint."""
    return int(checkpoint.stem.rpartition("-")[2])


def _checkpoints(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{kind}-*.ckpt") if re.fullmatch(rf"{kind}-\d+\.ckpt", path.name))
