"""Compute tables in parts that are kept on disk, so that memory is bounded and an interrupted command resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyjepa.data.files import read_json
from anyjepa.data.samples import signal_hash
from anyjepa.errors import InputError
from anyjepa.locking import locked
from anyjepa.runs.table_writing import STDOUT, table_writer
from anyjepa.writing import replacing, write_text

if TYPE_CHECKING:
    import pandas as pd

    from anyjepa.data.dataset import Dataset
    from anyjepa.runs.model import Model
    from anyjepa.runs.table_writing import Write

    Tables = tuple[pd.DataFrame, ...]

SIZE = 1024  # records or windows of a part
Progress = Callable[[int, int], None]  # called with the number of records or windows done, and of all


def write_in_parts(
    outputs: Sequence[Path | None],
    count: int,
    key: Callable[[], Mapping[str, Any]],
    compute: Callable[[range], Tables],
    progress: Progress,
    vectors: int = 0,
    watch: Write | None = None,
) -> None:
    """Write the tables that `compute` makes of `SIZE` of `count` records or windows at a time, each to its output.

    An output is complete or unchanged afterwards; None: not written. Parts of files are kept in a hidden folder next to
    the first output until then, and an interrupted call with the same key resumes. Parts on standard output are not
    kept. vectors: see `table_writer`. watch: also called with the first table of each part. Raises InputError if an
    output or the folder cannot be written, if another process holds the folder, or if a part in it is damaged.
    """
    first = outputs[0]
    assert first is not None
    keep = count > SIZE and first != STDOUT
    with holding(first, keep), ExitStack() as stack:
        writers = [None if o is None else stack.enter_context(table_writer(o, vectors)) for o in outputs]
        for tables in in_parts(first, key() if keep else None, count, len(outputs), compute, progress):
            if watch is not None:
                watch(tables[0])
            for write, table in zip(writers, tables, strict=True):
                if write is not None:
                    write(table)


def in_parts(
    output: Path,
    key: Mapping[str, Any] | None,
    count: int,
    outputs: int,
    compute: Callable[[range], Tables],
    progress: Progress,
) -> Iterator[Tables]:
    """The tables of each part, from the folder that `holding` has locked if they are there; key None: computed only.

    outputs: number of tables that `compute` makes.
    """
    import pandas as pd

    folder = parts_of(output)
    if key is not None:
        about = json.loads(json.dumps({**key, "count": count, "size": SIZE}))
        if _read(folder / "key.json") != about:
            for part in folder.iterdir():  # the lock stays
                shutil.rmtree(part, ignore_errors=True)
            write_text(folder / "key.json", json.dumps(about))
    for first in range(0, count, SIZE):
        rows = range(first, min(first + SIZE, count))
        part = folder / f"{first:09d}"
        if key is None:
            yield compute(rows)
        else:
            if not part.exists():
                with replacing(part) as new:
                    new.mkdir()
                    for place, table in enumerate(compute(rows)):
                        table.to_parquet(new / f"{place}.parquet", index=False)
            try:
                tables = tuple(pd.read_parquet(part / f"{place}.parquet") for place in range(outputs))
            except (OSError, ValueError):
                raise InputError(f"{part}: cannot be read; remove the folder {folder} and start again") from None
            yield tables
        progress(rows.stop, count)


def parts_of(output: Path) -> Path:
    """The folder for the parts of an output."""
    return output.with_name(f".anyjepa-parts-{output.name}")


@contextmanager
def holding(output: Path, keep: bool) -> Iterator[None]:
    """Lock the folder for the parts of an output if they are kept, and remove it if the output is complete.

    Two processes would otherwise take each other's parts. Raises InputError if another process holds the folder, or it
    cannot be written.
    """
    folder, busy = parts_of(output), f"{output}: another command is writing it; wait until it finishes"
    with ExitStack() as stack:
        if keep or (output != STDOUT and folder.exists()):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder / ".lock", busy))
            except OSError as error:
                raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
        yield
    if output != STDOUT:
        shutil.rmtree(folder, ignore_errors=True)


def key_of(model: Model, samples: Dataset, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the values of a table depend on: weights, calibration, preprocessing, records, and settings."""
    loaded, digest = model.loaded, blake2b(digest_size=16)
    for module in filter(None, (model.encoder, loaded.predictor, model.head)):
        for tensors in module.state_dict().values():
            digest.update(signal_hash(tensors.float().cpu().numpy()).encode())
    digest.update(loaded.calibration.dump() if loaded.calibration else b"")
    config = loaded.config.model_dump_json()
    for text in (config, model.preprocessing.model_dump_json(), *samples.ids, *samples.known_groups):
        digest.update(text.encode() + b"\0")
    for place in range(0 if samples.checksums else len(samples)):
        digest.update(signal_hash(samples[place]).encode())
    for text in samples.checksums:
        digest.update(text.encode() + b"\0")
    return {"digest": digest.hexdigest(), "device": str(model.device), **settings}


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except InputError:
        return None
