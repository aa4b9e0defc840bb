"""Where a store is being made, until it is whole: a folder that one process holds.

STORE.part/store/    what becomes the store, by being renamed
STORE.part/done/     what there is to know of each finished shard
STORE.part/LOCK      held by the process that makes the store; a folder without it is not ours
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
    """Where a store is being made, and how."""

    folder: Path
    settings: StoreSettings

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def done(self, shard: str) -> Path:
        return self.folder / "done" / f"{shard}.json"

    def finished(self, shard: str) -> dict[str, Any] | None:
        """What there is to know of a shard, if that and its signals are there and whole; reads all of it."""
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
        """Make the folder if need be, and let no other process work in it meanwhile. InputError if one does.

        InputError, too, for a folder with other content than ours.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.is_symlink():  # the name is predictable, so a link could redirect the work
                raise InputError(f"{self.folder}: is a symbolic link; remove it")
            if not (self.folder / LOCK).is_file() and any(self.folder.iterdir()):
                raise InputError(f"{self.folder}: is needed for the work and holds something else; move it away")
            (self.folder / LOCK).touch()
        except OSError as error:
            raise InputError(f"{self.folder}: a store cannot be written here ({error.strerror})") from error
        with locked(self.folder / LOCK, f"{self.folder}: another process is writing it; wait until that finishes"):
            yield

    def begin(self, shards: Sequence[str]) -> None:
        """Make the folders, and take away what does not belong to these shards or is damaged."""
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
