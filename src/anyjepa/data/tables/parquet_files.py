"""Parquet tables: what the footer declares is compared with the file before a column is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyjepa.errors import InputError
from anyjepa.limits import COLUMNS, check_size

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class ParquetFile:
    """The columns of a Parquet file in their order, and its metadata as text. An index of pandas is a column here."""

    path: Path
    header: tuple[str, ...]
    metadata: Mapping[str, str]

    def load(self, places: Sequence[int]) -> list[pa.ChunkedArray]:
        """The columns at these places of the header. InputError for nested ones, and for too large ones."""
        with _opened(self.path) as file:
            kinds = file.schema_arrow.types
            for place in places:
                if kinds[place].num_fields:
                    where = f"{self.path}: column '{self.header[place]}'"
                    raise InputError(f"{where} holds {kinds[place]}; a cell must be a text or a number")
            # A chunk's own metadata are not asked for: where they are damaged pyarrow ends the process.
            groups = range(file.num_row_groups)
            declared = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            needed = max(declared, 8 * file.metadata.num_rows * len(places))
            check_size(needed, self.path.stat().st_size, f"{self.path}: reading {len(places)} columns")
            columns = [file.reader.read_column(place) for place in places]
        for column in columns:
            column.validate(full=True)  # a damaged column may point outside its dictionary
        return columns


def open_parquet(path: Path) -> ParquetFile:
    """The names and the metadata of a Parquet file."""
    with _opened(path) as file:
        schema = file.schema_arrow
        COLUMNS.check(len(schema.names), f"{path}")
        facts = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (schema.metadata or {}).items()
        }
        return ParquetFile(path, tuple(schema.names), facts)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    with pq.ParquetFile(
        path, read_dictionary=texts, page_checksum_verification=True
    ) as file:  # a text that repeats takes memory once
        yield file
