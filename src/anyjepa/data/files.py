"""Open and read regular files; everything else, such as a FIFO or a device, is refused."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from anyjepa.data.mounts import inside
from anyjepa.errors import InputError
from anyjepa.limits import DOCUMENT, Limit

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


# Line breaks, other control characters, and bytes that are not UTF-8 (surrogates): text files cannot store them.
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Half a character, escaped or as bytes: `json` reads it, and it cannot be written as UTF-8.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


@dataclass(frozen=True, repr=False)
class Content:
    """A file in memory, which `opened` opens like a file on disk. name: its name in messages."""

    data: bytes
    name: str

    def __str__(self) -> str:
        return self.name


def check_name(path: Path | str) -> None:
    """Raise InputError for a path that a text file cannot store and give back unchanged."""
    if match := _UNUSABLE.search(str(path)):
        what = "bytes that are not UTF-8" if "\ud800" <= match[0] <= "\udfff" else "a control character"
        raise InputError(f"{path}: its name contains {what}; rename it")


def opened(path: Path | Content) -> BinaryIO:
    """Open a regular file, on disk or in a mounted container, for reading; never waits for a FIFO or a device.

    Raises InputError if it is missing, is not a regular file, or has a name that `check_name` refuses.
    """
    if isinstance(path, Content):
        return BytesIO(path.data)
    check_name(path)
    if (place := inside(path)) is not None and place.name:
        return place.opened(path)
    try:
        _check_kind(path, path.stat().st_mode)
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError(f"{path}: is a broken link to {os.readlink(path)}") from error
        raise InputError(f"{path}: there is no such file or folder") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        _check_kind(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced in between
    except InputError:
        file.close()
        raise
    return file


def regular_size(path: Path | Content) -> int:
    """Size in bytes of a file that `opened` opens. Raises InputError for anything else."""
    if isinstance(path, Content):
        return len(path.data)
    if (place := inside(path)) is not None and place.is_file:
        return place.container.size(place.name)
    with opened(path) as file:
        return os.fstat(file.fileno()).st_size


def read_bytes(path: Path, limit: Limit | None = DOCUMENT) -> bytes:
    """Read a whole file (see `opened`). Raises InputError if it is larger than the limit; None means no limit."""
    with opened(path) as file:
        if limit is not None:
            limit.check(os.fstat(file.fileno()).st_size, str(path))
        try:
            return file.read()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_text(path: Path, limit: Limit = DOCUMENT) -> str:
    """Read a whole text file (see `read_bytes`). Raises InputError if it is not UTF-8."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def read_json(path: Path, limit: Limit | None = DOCUMENT) -> Any:
    """Read and parse a JSON file (see `read_bytes`). Raises InputError if it is not JSON in UTF-8."""
    content = read_bytes(path, limit)
    try:
        value = json.loads(content)
        if _SURROGATE.search(content):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error})") from error


def _check_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}; only regular files are read")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
