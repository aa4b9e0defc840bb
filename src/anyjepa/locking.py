"""A lock file that one process at a time can hold."""

from __future__ import annotations

import errno
import os
import struct
import sys
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


def held(file: Path) -> bool | None:
    """Whether another process holds the lock, which is not touched; None if the system does not say (only Linux does).

    Do not call this in the process that holds the lock: closing the file would release it.
    """
    if sys.platform != "linux":
        return None
    if not file.is_file():
        return False
    import fcntl

    question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock: may the whole file be locked?
    try:
        with open(file, "rb") as lock:
            answer = fcntl.fcntl(lock, fcntl.F_GETLK, question)
    except OSError:  # file systems without locks
        return None
    return struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
