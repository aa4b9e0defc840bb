"""A lock file that one process at a time can hold."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anyjepa.errors import InputError


@contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Lock `file`, creating it if needed. Raises InputError `busy` if another process holds it, or OSError.

    The lock belongs to this process, is not shared with its workers, and is released when the process ends in any way.
    On file systems without locks, nothing is locked.
    """
    if file.exists() and not file.is_file():  # opening a FIFO would block
        raise InputError(f"{file}: is not a regular file; remove it")
    with open(file, "a") as lock:
        try:
            _lock(lock)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise InputError(busy) from None
        yield


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
