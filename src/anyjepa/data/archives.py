"""Zip and tar archives as containers. Members are read one at a time and never unpacked under their own names."""

from __future__ import annotations

import errno
import gzip
import math
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from anyjepa.data.array_files import METHODS
from anyjepa.data.files import opened
from anyjepa.data.mounts import Container, checked_names
from anyjepa.errors import InputError, reason
from anyjepa.limits import DISK, EXPANSION, MEMBERS, SMALL, Limit, check_size

TAR_GZ = (".tar.gz", ".tgz")
SUFFIXES = (".zip", ".tar", *TAR_GZ)
LONGEST_HEADER = 2**16  # bytes of all headers of a member
_BLOCK = 2**20
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError, IndexError,
           OverflowError, MemoryError)  # fmt: skip


def archive(where: Path, file: Path, ending: str, folder: Callable[[], Path]) -> Container:
    """Open a file whose name ends in one of SUFFIXES as a container.

    where: name of the archive in messages. folder: returns the folder for temporary files.
    """
    if ending == ".zip":
        return Zip(where, file)
    return TarGz(where, file, folder) if ending in TAR_GZ else Tar(where, file)


class _Archive(Container):
    def __init__(self, where: Path, file: Path):
        self.where, self.file, self.handles = str(where), file, ExitStack()

    def close(self) -> None:
        self.handles.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (Path(self.where), self.file)  # another process opens the file again

    def _broken(self, error: Exception, name: str = "") -> InputError:
        what = f"{self.where}/{name}" if name else self.where
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InputError(f"{what}: cannot be copied to a temporary file ({error.strerror})")
        return InputError(f"{what}: cannot be read, so the archive is damaged ({reason(error)})")


class Zip(_Archive):
    """A .zip file."""

    @cached_property
    def _open(self) -> zipfile.ZipFile:
        try:
            return self.handles.enter_context(zipfile.ZipFile(self.handles.enter_context(opened(self.file))))
        except InputError:
            raise
        except _BROKEN as error:
            raise self._broken(error) from error

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        listed = self._open.infolist()
        MEMBERS.check(len(listed), self.where)
        for member in listed:
            what = f"{self.where}: '{member.filename}'"
            if member.flag_bits & 1:
                raise InputError(f"{what} is encrypted; decrypt the archive first")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{what} is a link or a special file; such archives are not read")
            if member.compress_type not in METHODS:
                raise InputError(f"{what} is compressed by a method other than deflate; pack the archive again")
        files = [member for member in listed if not member.is_dir()]
        total, size = sum(member.file_size for member in files), max(os.stat(self.file).st_size, 1)
        if total > SMALL:
            EXPANSION.check(math.ceil(total / size), f"{self.where}: its content, compared with the archive,")
        names = checked_names((member.orig_filename for member in files), self.where)
        return dict(zip(names, files, strict=True))

    @property
    def names(self) -> Collection[str]:
        return self._members.keys()

    def version(self, name: str) -> str:
        member = self._members[name]
        return f"{member.file_size} {member.CRC:08x}"

    def size(self, name: str) -> int:
        return self._members[name].file_size

    def copy(self, name: str, out: IO[bytes]) -> None:
        member = self._members[name]
        check_size(member.file_size, member.compress_size, f"{self.where}/{name}")
        try:
            with self._open.open(member) as file:
                shutil.copyfileobj(file, out, _BLOCK)  # no more than it declares; checks its CRC
        except _BROKEN as error:
            raise self._broken(error, name) from error


class _Headers:
    """A file for `tarfile`, which reads headers of any declared size into memory."""

    def __init__(self, file: IO[bytes], where: str):
        self.file, self.where, self.left = file, where, LONGEST_HEADER
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        self.left -= count
        if self.left < 0:
            raise InputError(f"{self.where}: has a header of over {LONGEST_HEADER} bytes; pack the archive again")
        return self.file.read(count)


class Tar(_Archive):
    """A .tar file."""

    most = MEMBERS

    @property
    def plain(self) -> Path:
        """The archive without compression."""
        return self.file

    @cached_property
    def _tar(self) -> IO[bytes]:
        return self.handles.enter_context(opened(self.plain))

    @cached_property
    def _members(self) -> dict[str, tuple[int, int, float]]:
        """Start, size and time of change of each file, in less memory than `tarfile` needs."""
        names, members = list[str](), list[tuple[int, int, float]]()
        try:
            size = os.fstat(self._tar.fileno()).st_size
            headers = _Headers(self._tar, self.where)
            with tarfile.open(fileobj=headers, mode="r:") as tar:  # type: ignore[call-overload]
                for count, member in enumerate(iter(tar.next, None), 1):
                    tar.members.clear()
                    headers.left = LONGEST_HEADER
                    self.most.check(count, self.where)
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        raise InputError(
                            f"{self.where}: '{member.name}' is a link or a special file; such archives are not read"
                        )
                    if member.size < 0:  # the next header would be an earlier one
                        raise InputError(f"{self.where}: '{member.name}' has a negative size; the archive is damaged")
                    if member.offset_data + member.size > size:
                        raise InputError(f"{self.where}: ends inside '{member.name}', so the archive is damaged")
                    names.append(member.name)
                    members.append((member.offset_data, member.size, member.mtime))
        except InputError:
            raise
        except _BROKEN as error:
            raise self._broken(error) from error
        return dict(zip(checked_names(names, self.where), members, strict=True))

    @property
    def names(self) -> Collection[str]:
        return self._members.keys()

    def version(self, name: str) -> str:
        _, size, mtime = self._members[name]
        return f"{size} {mtime:g}"

    def size(self, name: str) -> int:
        return self._members[name][1]

    def copy(self, name: str, out: IO[bytes]) -> None:
        start, left, _ = self._members[name]
        self._tar.seek(start)
        while left and (block := self._tar.read(min(left, _BLOCK))):
            out.write(block)
            left -= len(block)


class TarGz(Tar):
    """A .tar.gz file. It has no index, so it is first decompressed to a temporary file in `folder`."""

    def __init__(self, where: Path, file: Path, folder: Callable[[], Path], most: Limit = MEMBERS):
        super().__init__(where, file)
        self.folder, self.most = folder, most

    def __reduce__(self) -> tuple[Any, ...]:
        return Tar, (Path(self.where), self.plain)

    @cached_property
    def plain(self) -> Path:
        descriptor, name = tempfile.mkstemp(".tar", dir=self.folder())
        try:
            with open(descriptor, "wb") as out, opened(self.file) as packed, gzip.open(packed) as file:
                most = max(SMALL, os.fstat(packed.fileno()).st_size * EXPANSION.value)
                while block := file.read(_BLOCK):
                    if out.tell() + len(block) > most:
                        EXPANSION.refuse(f"{self.where}: its content, compared with the archive,")
                    DISK.check(out.tell() + len(block), f"{self.where}: its content")
                    out.write(block)
        except InputError:
            raise
        except _BROKEN as error:
            raise self._broken(error) from error
        return Path(name)
