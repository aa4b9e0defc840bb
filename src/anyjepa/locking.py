"""A file that one process at a time holds."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anyjepa.errors import InputError


@contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Hold `file`, made if it does not exist. Raises InputError `busy` if another process holds it, else OSError.

    The lock belongs to this process: its workers do not share it, and it ends with the process, however that ends.
    File systems without locks have none.
    """
    if file.exists() and not file.is_file():  # opening a FIFO would wait for its other end
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
