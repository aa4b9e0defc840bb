"""The working folder of a store that is not complete yet. One process at a time can use it.

STORE.part/store/    becomes the store when it is renamed
STORE.part/done/     metadata of each finished shard
STORE.part/LOCK      locked by the process that makes the store; marks the folder as ours
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anyjepa.data.ecg.stores.store import SHARDS, StoreSettings, checksum
from anyjepa.data.files import opened, read_bytes
from anyjepa.errors import InputError
from anyjepa.locking import locked
from anyjepa.writing import remove_leftovers

_BLOCK = 2**20
LOCK = "anyjepa-store.lock"


class Work(NamedTuple):
    """The working folder of a store, and the settings of the store."""

    folder: Path
    settings: StoreSettings

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def done(self, shard: str) -> Path:
        return self.folder / "done" / f"{shard}.json"

    def finished(self, shard: str) -> dict[str, Any] | None:
        """Metadata of a shard, if it is complete and its signals match the checksum; None otherwise."""
        try:
            crc, content = read_bytes(self.done(shard)).split(b"\n", 1)
            if crc.decode() != checksum(content):
                return None
            facts = json.loads(content)
            size, crc = 0, 0
            with opened(self.store / SHARDS / facts["shard"]["file"]) as signals:
                while block := signals.read(_BLOCK):
                    size, crc = size + len(block), zlib.crc32(block, crc)
        except (OSError, ValueError):
            return None
        return facts if (size, f"{crc:08x}") == (facts["shard"]["bytes"], facts["shard"]["checksum"]) else None

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Create the folder if needed, and lock it. Raises InputError if another process uses it.

        Also raises InputError for a folder with other content.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.is_symlink():  # the name is predictable, so a link could redirect writing
                raise InputError(f"{self.folder}: is a symbolic link; remove it")
            if not (self.folder / LOCK).is_file() and any(self.folder.iterdir()):
                raise InputError(f"{self.folder}: is needed as a working folder, but has other content; move it")
            (self.folder / LOCK).touch()
        except OSError as error:
            raise InputError(f"{self.folder}: a store cannot be written here ({error.strerror})") from error
        with locked(self.folder / LOCK, f"{self.folder}: another process is writing it; wait until that finishes"):
            yield

    def begin(self, shards: Sequence[str]) -> None:
        """Create the folders, and remove files that are damaged or do not belong to these shards."""
        try:
            for folder in (self.store / SHARDS, self.folder / "done"):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder / "done", self.store, self.store / SHARDS):
                remove_leftovers(folder)
            whole = {self.done(shard) for shard in shards if self.finished(shard)}
            files = {self.store / SHARDS / f"{shard[:6]}.f32" for shard in shards}
            for file in [
                *self.folder.glob("done/*"),
                *self.folder.glob("store/*"),
                *self.folder.glob("store/shards/*"),
            ]:
                if file not in whole | files | {self.store / SHARDS}:
                    file.unlink()
        except OSError as error:
            raise InputError(f"{self.folder}: a store cannot be written here ({error.strerror})") from error
