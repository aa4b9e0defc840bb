"""Checkpoints of other programs, opened without running anything that they carry."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import torch

from anyjepa.errors import InputError


def read_foreign(path: Path | str) -> dict[str, object]:
    """A PyTorch checkpoint as plain values and CPU tensors.

    InputError if the file is missing or no checkpoint, or if its pickle asks for anything but tensors and plain values:
    such a file could run any program, and nothing of it is executed.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # an unpickler on arbitrary bytes raises anything
        if asked := re.search(r"GLOBAL ['\"]?([\w.]+)", str(error)):
            raise InputError(
                f"{path}: refused, its pickle asks to run '{asked[1]}'; only tensors and plain values are read"
            ) from error
        raise InputError(f"{path}: is no PyTorch checkpoint of tensors and plain values") from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path}: holds a {type(checkpoint).__name__}; a dictionary is expected")
    return checkpoint
