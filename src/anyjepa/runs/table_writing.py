"""Write a table as its parts come: .parquet, .arrow, .csv and .npz files, or an Arrow stream on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.errors import InputError
from anyjepa.runs.formulas import write_csv
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Write = Callable[[pd.DataFrame], None]

STDOUT = Path("-")
TABLES = (".parquet", ".arrow", ".csv")


def check_outputs(outputs: Sequence[Path | None], suffixes: Sequence[str], what: str, inputs: Sequence[Path]) -> None:
    """Raise InputError for an output that cannot be written, or that would replace or spoil something.

    These are an input file, a file in an input folder or in a model folder, and another output. The first may be
    STDOUT, unless that is a terminal. what: begins the message, such as 'embeddings are'.
    """
    seen: set[Path] = set()
    for place, output in enumerate(outputs):
        if output is None:
            continue
        if output == STDOUT and not place:
            if sys.stdout.isatty():
                raise InputError("-o -: writes an Arrow stream, which a terminal cannot show; pass it to a program")
            continue
        if output.suffix not in suffixes:
            raise InputError(f"{output}: {what} written as {', '.join(suffixes)}")
        if output.resolve() in seen:
            raise InputError(f"{output}: is named for two tables; choose another file")
        seen.add(output.resolve())
        refuse_input_as_output(output, inputs)


def refuse_input_as_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise InputError for an output in a model folder, or in place of an input file or a file in an input folder."""
    if output.exists() and any(output.resolve().is_relative_to(path.resolve()) for path in inputs):
        raise InputError(f"{output}: is one of the input files; choose another output")
    if (output.parent / "model.safetensors").exists():
        raise InputError(f"{output}: {output.parent} is a model folder, which holds nothing else; choose another")


def write_table(output: Path, table: pd.DataFrame) -> None:
    """Write one table, completely or not at all; formulas in .csv are escaped. Raises InputError."""
    with table_writer(output) as write:
        write(table)


@contextmanager
def table_writer(output: Path, vectors: int = 0) -> Iterator[Write]:
    """A function that appends a table to a file, which is complete or absent afterwards, or to STDOUT.

    .parquet and .arrow files get a row group or record batch per table. vectors: number of last columns that .npz has
    as one array `embedding`. Raises InputError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if output == STDOUT:
        with _arrow(lambda schema: pa.ipc.new_stream(sys.stdout.buffer, schema)) as write:
            yield write
        return
    with replacing(output) as new:
        if output.suffix == ".parquet":
            with _arrow(lambda schema: pq.ParquetWriter(new, schema)) as write:
                yield write
        elif output.suffix == ".arrow":
            with _arrow(lambda schema: pa.ipc.new_file(new, schema)) as write:
                yield write
        else:
            tables: list[pd.DataFrame] = []
            yield tables.append
            _write_whole(new, tables, vectors)


@contextmanager
def _arrow(opened: Callable[[pa.Schema], Any]) -> Iterator[Write]:
    """opened: the writer for tables of a schema, which is that of the first."""
    import pyarrow as pa

    writer: Any = None
    schema: pa.Schema | None = None
    with ExitStack() as stack:

        def write(table: pd.DataFrame) -> None:
            nonlocal writer, schema
            rows = pa.Table.from_pandas(table, schema, preserve_index=False)
            if schema is None:
                schema = rows.schema
                writer = stack.enter_context(opened(schema))
            writer.write_table(rows)

        yield write


def _write_whole(new: Path, tables: Sequence[pd.DataFrame], vectors: int) -> None:
    import pandas as pd

    table = pd.concat(list(tables), ignore_index=True)
    if new.suffix == ".csv":
        write_csv(table, new)
        return
    columns: dict[str, np.ndarray] = {}
    for name in table.columns[:-vectors]:
        columns[name] = table[name].to_numpy(None if pd.api.types.is_numeric_dtype(table[name]) else str)
    columns["embedding"] = table[table.columns[-vectors:]].to_numpy(np.float32)
    np.savez_compressed(new, **columns)  # pyright: ignore
