"""Compute a table in parts that are kept on disk, so that memory is bounded and an interrupted command resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.files import read_json
from anyjepa.data.samples import signal_hash
from anyjepa.errors import InputError
from anyjepa.locking import locked
from anyjepa.runs.formulas import write_csv
from anyjepa.writing import replacing, write_text

if TYPE_CHECKING:
    import pandas as pd

    from anyjepa.data.dataset import Dataset
    from anyjepa.runs.model import Model

    Tables = tuple[pd.DataFrame, ...]

SIZE = 1024  # records or windows of a part
Progress = Callable[[int, int], None]  # called with the number of records or windows that are done, and all


def in_parts(
    output: Path, key: Mapping[str, Any], count: int, compute: Callable[[range], Tables], progress: Progress
) -> Iterator[Tables]:
    """Tables of `SIZE` of `count` records or windows at a time.

    Tables that an interrupted call with the same key has finished are read from a hidden folder next to `output`, which
    `holding` locks and removes. Raises InputError if the folder cannot be written, or a part in it is damaged.
    """
    import pandas as pd

    folder = parts_of(output)
    about = json.loads(json.dumps({**key, "count": count, "size": SIZE}))
    if count > SIZE and _read(folder / "key.json") != about:
        for part in folder.iterdir():  # the lock stays
            shutil.rmtree(part, ignore_errors=True)
        write_text(folder / "key.json", json.dumps(about))
    for first in range(0, count, SIZE):
        rows = range(first, min(first + SIZE, count))
        part = folder / f"{first:09d}"
        if count <= SIZE:
            yield compute(rows)
        else:
            if not part.exists():
                with replacing(part) as new:
                    new.mkdir()
                    for place, table in enumerate(compute(rows)):
                        table.to_parquet(new / f"{place}.parquet", index=False)
            try:
                tables = tuple(pd.read_parquet(file) for file in sorted(part.iterdir()))
            except (OSError, ValueError):
                raise InputError(f"{part}: cannot be read; remove the folder {folder} and start again") from None
            yield tables
        progress(rows.stop, count)


def parts_of(output: Path) -> Path:
    """The folder for the parts of an output."""
    return output.with_name(f".anyjepa-parts-{output.name}")


@contextmanager
def holding(output: Path, count: int) -> Iterator[None]:
    """Lock the folder for the parts of an output of `count` rows, and remove it if the output is complete.

    Two processes would otherwise take each other's parts. Raises InputError if another process holds the folder, or it
    cannot be written.
    """
    folder, busy = parts_of(output), f"{output}: another command is writing it; wait until it finishes"
    with ExitStack() as stack:
        if count > SIZE or folder.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder / ".lock", busy))
            except OSError as error:
                raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
        yield
    shutil.rmtree(folder, ignore_errors=True)


def key_of(model: Model, samples: Dataset, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the values of a table depend on: weights, preprocessing, records, and settings."""
    loaded, digest = model.loaded, blake2b(digest_size=16)
    for tensors in model.encoder.state_dict().values():
        digest.update(signal_hash(tensors.float().cpu().numpy()).encode())
    config = loaded.config.model_dump_json()
    for text in (config, model.preprocessing.model_dump_json(), *samples.ids, *samples.known_groups):
        digest.update(text.encode() + b"\0")
    for place in range(0 if samples.checksums else len(samples)):
        digest.update(signal_hash(samples[place]).encode())
    for text in samples.checksums:
        digest.update(text.encode() + b"\0")
    return {"digest": digest.hexdigest(), "device": str(next(model.encoder.parameters()).device), **settings}


def write_parts(output: Path, parts: Iterator[pd.DataFrame], vectors: int = 0) -> None:
    """Write tables as one .parquet, .csv or .npz file, completely or not at all. Raises InputError.

    Parquet files get a row group per table. vectors: number of last columns that .npz has as one array `embedding`.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if output.suffix == ".parquet":
        with replacing(output) as new:
            first = pa.Table.from_pandas(next(parts), preserve_index=False)
            with pq.ParquetWriter(new, first.schema) as writer:
                writer.write_table(first)
                for part in parts:
                    writer.write_table(pa.Table.from_pandas(part, first.schema, preserve_index=False))
        return
    if output.suffix == ".csv":
        table = pd.concat(list(parts), ignore_index=True)
        with replacing(output) as new:
            write_csv(table, new)
        return
    columns: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name in part.columns[:-vectors]:
            text = not pd.api.types.is_numeric_dtype(part[name])
            columns.setdefault(name, []).append(part[name].to_numpy(str if text else None))
        columns.setdefault("embedding", []).append(part[part.columns[-vectors:]].to_numpy(np.float32))
    with replacing(output) as new:
        np.savez_compressed(new, **{name: np.concatenate(arrays) for name, arrays in columns.items()})  # pyright: ignore


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except InputError:
        return None
