"""Read files in object storage and on web servers as a container, through fsspec."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from anyjepa.data.mounts import Container, checked_names
from anyjepa.errors import InputError, reason
from anyjepa.limits import DISK, MEMBERS

_BLOCK = 2**20


class Remote(Container):
    """A folder at a URL such as s3://bucket/photos, or a single file."""

    def __init__(self, url: str):
        self.where = url

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where,)  # another process connects again

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The fsspec file system, and the path in it."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise InputError(f"{self.where}: needs fsspec: pip install 'anyjepa[remote]'") from None
        try:
            return url_to_fs(self.where)
        except Exception as error:  # every driver raises its own
            raise self._error(error) from error

    @property
    def name(self) -> str:
        """The last part of the URL; for web servers, without the query, which may contain a signature."""
        return PurePosixPath(urlsplit(self.where).path if self.where.startswith("http") else self.where).name

    @cached_property
    def is_folder(self) -> bool:
        """Whether the URL is a folder. Web servers do not say, so there a name without an ending is a folder."""
        system, path = self._system
        try:
            return not PurePosixPath(self.name).suffix if self.where.startswith("http") else system.isdir(path)
        except Exception as error:
            raise self._error(error) from error

    @cached_property
    def _files(self) -> dict[str, dict[str, Any]]:
        """What the file system reports about each file in the folder, by name."""
        system, path = self._system
        start = path.rstrip("/") + "/"
        try:
            files = system.find(start, detail=True)
        except Exception as error:
            raise self._error(error) from error
        MEMBERS.check(len(files), self.where)
        inner = {name.removeprefix(start): facts for name, facts in files.items() if name.startswith(start)}
        return dict(zip(checked_names(inner, self.where), inner.values(), strict=True))

    def _facts(self, name: str) -> dict[str, Any]:
        """What the file system reports about one file, including its size, which a list of links lacks."""
        if self._files[name].get("size") is None:
            system, path = self._system
            try:
                self._files[name] = system.info(f"{path.rstrip('/')}/{name}")
            except Exception as error:
                raise self._error(error, f"{self.where}/{name}") from error
        return self._files[name]

    @property
    def names(self) -> Collection[str]:
        return self._files.keys()

    def version(self, name: str) -> str:
        return " ".join(str(self._facts(name).get(key, "")) for key in ("size", "ETag", "mtime", "LastModified"))

    def size(self, name: str) -> int:
        return int(self._facts(name).get("size") or 0)

    def copy(self, name: str, out: IO[bytes]) -> None:
        """Write the content of a file; name '' means the URL itself."""
        system, path = self._system
        what, size = f"{self.where}/{name}" if name else self.where, 0
        try:
            with system.open(f"{path.rstrip('/')}/{name}" if name else path, "rb", cache_type="none") as file:
                while block := file.read(_BLOCK):
                    size += len(block)
                    DISK.check(size, what)
                    out.write(block)
        except InputError:
            raise
        except Exception as error:
            raise self._error(error, what) from error

    def _error(self, error: Exception, what: str = "") -> InputError:
        what = what or self.where
        if isinstance(error, FileNotFoundError):
            return InputError(f"{what}: there is no such file or folder, or its server cannot be reached")
        if isinstance(error, ImportError):
            fix = ": pip install 'anyjepa[s3]'" if self.where.startswith("s3:") else ""  # others name their package
            return InputError(f"{what}: needs a driver ({reason(error)}){fix}")
        return InputError(f"{what}: cannot be read ({reason(error)})")
