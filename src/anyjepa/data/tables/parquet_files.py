"""Parquet tables; the sizes in the footer are compared with the file before a column is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.files import opened, regular_size
from anyjepa.errors import InputError
from anyjepa.limits import COLUMNS, check_size

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class ParquetFile:
    """The columns of a Parquet file in order, and its metadata as text. An index of pandas is a column here.

    An index of consecutive numbers is not stored, but described in the metadata.
    """

    path: Path
    header: tuple[str, ...]
    metadata: Mapping[str, str]
    index: range | None = None  # the numbers of the last column, if it is not stored

    def load(self, places: Sequence[int]) -> list[pa.ChunkedArray]:
        """Read the columns at these positions of the header. Raises InputError for nested and too large columns."""
        import pyarrow as pa

        with _opened(self.path) as file:
            kinds = file.schema_arrow.types
            stored = [place for place in places if place < len(kinds)]
            for place in stored:
                if kinds[place].num_fields:
                    where = f"{self.path}: column '{self.header[place]}'"
                    raise InputError(f"{where} holds {kinds[place]}; a cell must be text or a number")
            needed = declared_size(file.metadata, 8 * len(places))
            check_size(needed, regular_size(self.path), f"{self.path}: reading {len(places)} columns")
            columns = {place: file.reader.read_column(place) for place in stored}
        for column in columns.values():
            column.validate(full=True)  # a damaged column may point outside its dictionary
        if self.index is not None and len(kinds) in places:
            columns[len(kinds)] = pa.chunked_array([np.arange(self.index.start, self.index.stop, self.index.step)])
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("its columns differ in length")
        return [columns[place] for place in places]


def open_parquet(path: Path) -> ParquetFile:
    """Read the column names and the metadata of a Parquet file."""
    with _opened(path) as file:
        schema = file.schema_arrow
        COLUMNS.check(len(schema.names), f"{path}")
        facts = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (schema.metadata or {}).items()
        }
        name, index = _described_index(facts.get("pandas", ""), file.metadata.num_rows)
        if name is None or name in schema.names:
            return ParquetFile(path, tuple(schema.names), facts)
        return ParquetFile(path, (*schema.names, name), facts, index)


def declared_size(footer: pq.FileMetaData, row_bytes: int) -> int:
    """Memory in bytes that a footer declares, with at least `row_bytes` per row.

    It does not look at the metadata of chunks: if they are damaged, pyarrow ends the process.
    """
    groups = (footer.row_group(place) for place in range(footer.num_row_groups))
    return max(sum(group.total_byte_size for group in groups), row_bytes * footer.num_rows)


def _described_index(pandas: str, rows: int) -> tuple[str | None, range | None]:
    """Name and numbers of a pandas index that is only described; None if there is none with this many rows."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        (index,) = json.loads(pandas)["index_columns"]
        numbers = range(index["start"], index["stop"], index["step"])
        if index["kind"] == "range" and isinstance(index["name"], str) and len(numbers) == rows:
            return index["name"], numbers
    return None, None


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path) as content, pq.ParquetFile(content) as file:
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    with (
        opened(path) as content,
        pq.ParquetFile(
            content, read_dictionary=texts, page_checksum_verification=True
        ) as file,  # repeated texts take memory once
    ):
        yield file
