"""What is read from a file system, regular files; and a file that one process holds."""

from __future__ import annotations

import errno
import fcntl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyjepa.errors import InputError

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def regular_size(path: Path) -> int:
    """Bytes of a regular file. InputError for anything else: a FIFO or a device may never come to an end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is a {_KINDS[stat.S_IFMT(status.st_mode)]}; only regular files are read")
        path.open("rb").close()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file or folder") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size


@contextmanager
def held(file: Path, busy: str) -> Iterator[None]:
    """Let no other process hold `file` meanwhile; it is made if need be. InputError `busy` if one does, else OSError.

    The lock is the process's own: neither its workers hold it nor a crash, and on file systems without locks there is
    none.
    """
    if file.exists():
        regular_size(file)  # to open a FIFO would wait for its other end
    with open(file, "a") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise InputError(busy) from None
        yield
