"""Check the memory that a PyTorch checkpoint needs, before and after it is unpickled."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.limits import check_size

OBJECTS = 64  # most bytes of memory per byte of a pickle: an empty dictionary is one byte
LEGACY = 5  # pickles at the start of a file from before PyTorch 1.6


def check_archive(path: Path, size: int) -> None:
    """Raise InputError if the parts of a checkpoint of `size` bytes, or its pickle, need too much memory.

    Other errors mean that it is not a checkpoint.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            try:
                for _ in range(LEGACY):
                    _check_pickle(file, path, size)
            except InputError:
                raise
            except ValueError:  # PyTorch stops at the same place
                pass
            return
    with zipfile.ZipFile(path) as archive:
        pickles = [part for part in archive.infolist() if part.filename.endswith(".pkl")]
        needed = sum(part.file_size for part in archive.infolist())
        check_size(needed + OBJECTS * sum(part.file_size for part in pickles), size, f"{path}: its content")
        for part in pickles:
            with archive.open(part) as file:
                _check_pickle(file, path, size)


def check_loaded(checkpoint: object, path: Path, size: int) -> None:
    """Raise InputError if a checkpoint with a separate copy of each value needs too much memory.

    A value may occur many times, and a tensor may repeat one number; copies of both would fill the memory.
    """
    check_size(_written_out(checkpoint, {}), size, f"{path}: its content")


def _check_pickle(file: IO[bytes], path: Path, size: int) -> None:
    """PyTorch lets a pickle call `bytearray`, which allocates any requested size, and `encode`, which copies."""
    longest = calls = 0
    encodes = False
    names: list[str] = []
    for code, value, _ in pickletools.genops(file):
        if isinstance(value, (str, bytes)):
            names = [*names[-1:], str(value)]
            longest = max(longest, len(value))
        if code.name in ("GLOBAL", "STACK_GLOBAL"):
            name = " ".join(names) if code.name == "STACK_GLOBAL" else str(value)
            if name.endswith(" bytearray"):
                raise InputError(f"{path}: its pickle creates a bytearray, which is refused")
            encodes |= name.endswith(" encode")
        calls += code.name == "REDUCE"
    if encodes:
        check_size(longest * calls, size, f"{path}: its pickle")


def _written_out(value: object, sizes: dict[int, int]) -> int:
    """Size of a value in bytes without sharing. Raises ValueError for a value that contains itself."""
    if id(value) in sizes:
        if not sizes[id(value)]:
            raise ValueError("a value in it contains itself")
        return sizes[id(value)]
    sizes[id(value)] = 0
    inner: Iterable[object] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = value
    own = value.numel() * value.element_size() if isinstance(value, Tensor) and not value.is_sparse else 0
    sizes[id(value)] = 1 + own + sum(_written_out(part, sizes) for part in inner)
    return sizes[id(value)]
