"""What `embed` and `predict` accept besides files and folders: archives, remote files, and standard input."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from urllib.request import url2pathname
from zipfile import BadZipFile, ZipFile

from anyjepa.data.archives import SUFFIXES, archive
from anyjepa.data.mounts import Container, mounted
from anyjepa.data.remote import Remote
from anyjepa.errors import InputError
from anyjepa.limits import DISK

STDIN = Path("-")
_URL = re.compile(r"([a-z][a-z0-9+.]+):/+(.+)")  # Path has merged the slashes
_BLOCK = 2**20
_MAGIC = {  # ending -> position and first bytes
    ".png": (0, b"\x89PNG"),
    ".jpg": (0, b"\xff\xd8\xff"),
    ".gif": (0, b"GIF8"),
    ".webp": (8, b"WEBP"),
    ".avi": (8, b"AVI "),
    ".mkv": (0, b"\x1a\x45\xdf\xa3"),
    ".mp4": (4, b"ftyp"),
    ".npy": (0, b"\x93NUMPY"),
    ".parquet": (0, b"PAR1"),
    ".dcm": (128, b"DICM"),
    ".tar": (257, b"ustar"),
    ".tar.gz": (0, b"\x1f\x8b"),
    ".zip": (0, b"PK"),
    ".xml": (0, b"<?xml"),
}


@contextmanager
def readable(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Make archives, URLs and STDIN readable like folders and files; yields the paths to read.

    Temporary files are removed at the end. Raises InputError.
    """
    containers = dict[Path, Container]()
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anyjepa-")))

        usable = [_readable(path, folder, containers) for path in paths]
        with mounted(containers):
            try:
                yield usable
            except InputError as error:
                if STDIN not in paths:
                    raise
                copy = usable[paths.index(STDIN)]
                raise InputError(str(error).replace(str(copy), "standard input")) from error


def _readable(path: Path, folder: Callable[[], Path], containers: dict[Path, Container]) -> Path:
    if (match := _URL.fullmatch(str(path))) and match[1] == "file":
        path, match = Path(url2pathname(f"/{match[2]}")), None
        if not os.path.exists(path):
            raise InputError(f"{path}: there is no such file or folder")
    file = path
    if path == STDIN:
        file = path = _of_stdin(folder())
    elif match and not os.path.exists(path):
        remote = Remote(f"{match[1]}://{match[2]}")
        if remote.is_folder:
            containers[path] = remote
            return path
        file = Path(tempfile.mkdtemp(dir=folder())) / remote.name
        try:
            out = file.open("wb")
        except (OSError, ValueError) as error:  # such as a name that is too long for a file
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{remote.where}: cannot be copied to a temporary file ({why})") from error
        with out:
            remote.copy("", out)
    if (ending := _archive_ending(file)) and file.is_file():
        containers[path] = archive(path, file, ending, folder)
        return path
    return file


def _archive_ending(path: Path) -> str:
    return next((ending for ending in SUFFIXES if path.name.lower().endswith(ending)), "")


def _of_stdin(folder: Path) -> Path:
    """Copy standard input to a file whose ending fits its first bytes."""
    copied = folder / "stdin"
    with copied.open("wb") as out:
        while block := sys.stdin.buffer.read(_BLOCK):
            DISK.check(out.tell() + len(block), "standard input")
            out.write(block)
    with copied.open("rb") as file:
        start = file.read(512)
    ending = next((end for end, (at, magic) in _MAGIC.items() if start[at : at + len(magic)] == magic), "")
    if ending == ".zip" and _has_arrays_only(copied):
        ending = ".npz"
    if not start or (not ending and b"\0" in start):
        what = "is in a format that cannot be recognised by its first bytes; save it as a file with the usual ending"
        raise InputError(f"standard input: {what if start else 'is empty'}")
    return copied.rename(copied.with_suffix(ending or ".csv"))


def _has_arrays_only(file: Path) -> bool:
    try:
        with ZipFile(file) as members:
            return all(name.endswith(".npy") for name in members.namelist())
    except (BadZipFile, ValueError, OSError):
        return False
