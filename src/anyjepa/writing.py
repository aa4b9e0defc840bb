"""Write files completely or not at all: next to their destination, flushed to disk, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyjepa.errors import InputError

_PREFIX = ".anyjepa-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or a folder to, which then replaces `path` in one step.

    Until then `path` does not change, even if the process is killed. The path is in a private temporary folder next to
    `path`. Its random name cannot be predicted or redirected with a link, and the file keeps the name of `path` for
    libraries that look at the suffix. A link at `path` is replaced, not followed.
    Raises InputError if the file system fails, for example because the disk is full.
    """
    path = Path(path)
    place: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
        new = place / path.name
        yield new
        _flush(new)
        _put(new, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, with lone surrogates escaped, completely or not at all. Raises InputError."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8", errors="backslashreplace")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder that no other process writes to."""
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Whether a killed process left this behind."""
    return path.name.startswith(_PREFIX)


def _put(new: Path, path: Path) -> None:
    """Replace `path` by `new`. A folder cannot replace a folder, so the two are exchanged."""
    if not (new.is_dir() and path.is_dir()) or path.is_symlink():
        os.replace(new, path)
    elif not _exchange(new, path):  # a kill between the next two renames leaves the old folder in the temporary one
        old = new.with_name(f"{new.name}.old")
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders in one step; False if the system cannot (only Linux can, on most file systems)."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0


def _flush(path: Path) -> None:
    """Flush a file, or every file of a folder, to disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _flush(inner)
        _flush_folder(path)
        return
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the system can open folders (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
