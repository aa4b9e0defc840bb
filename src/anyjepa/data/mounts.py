"""Paths that lead into an archive or to remote files: `photos.zip/cats/1.jpg` is read as if the archive were a folder.

Only what is below a mounted path is read in this way, so nothing that a file names can lead into another archive or to
the network.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from anyjepa.errors import InputError

LONGEST, DEEPEST = 1000, 50  # most characters and folders of a name, because every folder is kept in memory

_MOUNTED: dict[Path, Container] = {}


class Container(ABC):
    """Base of archives and remote folders: regular files by relative path, with '/' between folders."""

    where: str  # name of the container in messages

    @property
    @abstractmethod
    def names(self) -> Collection[str]:
        """Relative paths of all files. Raises InputError if the container cannot be read."""

    @abstractmethod
    def version(self, name: str) -> str:
        """A text that changes with the content of a file, as far as the container can tell."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Size of a file in bytes."""

    @abstractmethod
    def copy(self, name: str, out: IO[bytes]) -> None:
        """Write the content of a file. Raises InputError if it cannot be read, or takes more than the limits allow."""

    def close(self) -> None:
        """Close the files of the container."""
        return

    @cached_property
    def folders(self) -> Mapping[str, Mapping[str, bool]]:
        """For each folder ('' is the container itself), the names of its entries and whether each is a folder.

        Raises InputError if a path is both a file and a folder.
        """
        folders: dict[str, dict[str, bool]] = {"": {}}
        for name in self.names:
            *parents, last = name.split("/")
            above = ""
            for parent in parents:
                folders[above].setdefault(parent, True)
                above = f"{above}/{parent}" if above else parent
                folders.setdefault(above, {})
            folders[above][last] = False
        if both := next((name for name in self.names if name in folders), None):
            raise InputError(f"{self.where}: '{both}' is both a file and a folder")
        return folders


class Place(NamedTuple):
    """A path in a container. name: path relative to the container; '' for the container itself."""

    container: Container
    name: str

    @property
    def is_file(self) -> bool:
        return self.name in self.container.names

    def opened(self, path: Path) -> BinaryIO:
        """Open a temporary copy of the file, which is deleted when it is closed. Raises InputError."""
        if not self.is_file:
            is_folder = any(name.startswith(f"{self.name}/") for name in self.container.names)  # `folders` takes memory
            raise InputError(f"{path}: {'is a folder' if is_folder else 'there is no such file'}")
        file: BinaryIO = tempfile.TemporaryFile()  # type: ignore[assignment]  # noqa: SIM115
        try:
            self.container.copy(self.name, file)
            file.seek(0)
        except OSError as error:
            file.close()
            raise InputError(f"{path}: cannot be copied to a temporary file ({error.strerror or error})") from error
        except BaseException:
            file.close()
            raise
        return file


@contextmanager
def mounted(containers: Mapping[Path, Container]) -> Iterator[None]:
    """Make containers readable at these paths, until the context ends."""
    before = dict(_MOUNTED)
    _MOUNTED.update(containers)
    try:
        yield
    finally:
        _MOUNTED.clear()
        _MOUNTED.update(before)
        for container in containers.values():
            container.close()


def all_mounted() -> Mapping[Path, Container]:
    """The mounted containers, which another process must `remount` to read the same paths."""
    return dict(_MOUNTED)


def remount(containers: Mapping[Path, Container]) -> None:
    """Make containers readable for the rest of this process."""
    _MOUNTED.update(containers)


def inside(path: Path) -> Place | None:
    """The place of a path in a mounted container; None for an ordinary path."""
    for root, container in _MOUNTED.items():
        if path == root or path.is_relative_to(root):
            return Place(container, path.relative_to(root).as_posix() if path != root else "")
    return None


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, on disk or in a container."""
    place = inside(path)
    return os.path.isdir(path) if place is None else not place.name or place.name in place.container.folders


def exists(path: Path) -> bool:
    """Whether a path exists, on disk or in a container."""
    place = inside(path)
    return os.path.exists(path) if place is None else is_folder(path) or place.is_file


def version(path: Path) -> str:
    """A text that usually changes with the content of a file: its size, or the version in its container."""
    place = inside(path)
    return str(path.stat().st_size) if place is None else place.container.version(place.name)


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """Yield a path that other libraries can open: a temporary copy if the file is in a container."""
    place = inside(path)
    if place is None or not place.name:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="anyjepa-") as folder, place.opened(path) as file:
        copied = Path(folder) / path.name[-60:]  # names in a container can be longer than the 255 bytes of a file's
        with copied.open("wb") as out:
            shutil.copyfileobj(file, out)
        yield copied


def checked_names(names: Iterable[str], where: str) -> Iterator[str]:
    """Yield the names of files without a leading './'. Raises InputError for one that leads out or is too long."""
    seen: set[str] = set()
    for name in names:
        plain = name.removeprefix("./")
        parts = plain.split("/")
        if "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name) or {"", ".", ".."} & set(parts):
            raise InputError(f"{where}: '{name}' is not the name of a file inside it; such archives are not read")
        if len(plain) > LONGEST or len(parts) > DEEPEST:
            raise InputError(f"{where}: '{name}' has more than {LONGEST} characters or {DEEPEST} folders; rename it")
        if plain in seen:
            raise InputError(f"{where}: '{plain}' occurs twice")
        seen.add(plain)
        yield plain
