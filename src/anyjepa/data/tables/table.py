"""One reader of tables for all modalities: columns by name, as clean texts or as numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.files import regular_size
from anyjepa.data.tables.cells import clean, clean_column, is_missing
from anyjepa.data.tables.parquet_files import open_parquet
from anyjepa.data.tables.text_files import open_text
from anyjepa.errors import InputError, did_you_mean, reason
from anyjepa.limits import COLUMNS, check_size

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".parquet")
IN_MEMORY = Path("table")  # what messages call a table in memory
_NAMELESS = "Unnamed: {}"  # pandas' name for a column without one
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__|index")  # pandas' names for an index
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class TableFile:
    """A table of which only the header has been read, or a table in memory."""

    path: Path
    names: tuple[str, ...]  # clean; a repeated name is an error only if it is requested
    metadata: Mapping[str, str]  # of a Parquet file
    described: str | None  # an index of pandas that is not stored: it can be requested, but does not count as data
    decimal_commas: bool  # whether numbers may be written 1,5
    size: int  # bytes
    load: Callable[[Sequence[int]], list[pa.ChunkedArray]] = field(repr=False)

    def read(self, columns: Sequence[str]) -> Table:
        """Read these columns. Raises InputError for a name that is missing or occurs twice."""
        columns = list(dict.fromkeys(map(clean, columns)))
        for column in columns:
            if column not in self.names:
                raise InputError(
                    f"{self.path}: column '{column}' is missing{self.hint or did_you_mean(column, self.names)}"
                )
            if self.names.count(column) > 1:
                raise InputError(f"{self.path}: column '{column}' occurs twice")
        with _readable(self.path):
            loaded = self.load([self.names.index(column) for column in columns])
        return Table(self, dict(zip(columns, loaded, strict=True)))

    def read_all(self) -> Table:
        """All columns but pandas' index of row numbers, and the nameless empty one that trailing separators make."""
        names = [name for name in self.names if name != self.described]
        self.check_header(names)
        table = self.read(names)
        columns = {n: column for n, column in table.columns.items() if not (_INDEX.fullmatch(n) and table.is_idle(n))}
        if nameless := [name for name in columns if _INDEX.fullmatch(name) and name != "index"]:
            raise InputError(f"{self.path}: a column has no name ('{nameless[0]}'); name it, or save without an index")
        return Table(self, columns)

    def check_header(self, names: Sequence[str]) -> None:
        """Raise InputError if the first line contains numbers, unless they count the columns as in pandas."""
        named = [name for name in names if not _INDEX.fullmatch(name)]
        counted = [[str(number) for number in range(first, first + len(named))] for first in (0, 1)]
        if named and all(_FLOAT.fullmatch(name.replace(",", ".")) for name in named) and named not in counted:
            raise InputError(f"{self.path}: the first line must name the columns; it contains numbers ('{named[0]}')")

    @property
    def hint(self) -> str:
        """Hint at what may be wrong with a table that lacks a column; "" if nothing looks odd."""
        if re.match(r"#.*\s", self.names[0]):
            return "; the first line looks like a comment: remove the lines above the header"
        if len(self.names) != 1 or not re.search(r"\W", self.names[0]):
            return ""
        return "; the table has one column only: separate its cells with a comma, semicolon, tab or bar"


@dataclass(frozen=True)
class Table:
    """Columns by name, with values as in the file."""

    file: TableFile
    columns: Mapping[str, pa.ChunkedArray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def texts(self, name: str) -> list[str | None]:
        """Clean texts (see `cells.clean_column`), None if missing. Raises InputError for dates, lists and bytes."""
        path = self.file.path
        check_size(64 * len(self), self.file.size, f"{path}: column '{name}'")
        with _readable(path):
            words, codes = _distinct(self.columns[name])
            cells = [*clean_column(_written(words, f"{path}: column '{name}'")), None]  # the place -1 is a null
        return [cells[code] for code in codes.tolist()]

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """(len(names), rows) float64, NaN if missing. Raises InputError with the column and row."""
        values = np.empty((len(names), len(self)))
        marks: dict[str, str] = {}  # a cell with a comma, and one with a point
        for row, name in zip(values, names, strict=True):
            with _readable(self.file.path):
                row[:] = self._numbers(name, marks)
        if len(marks) > 1:
            raise InputError(
                f"{self.file.path}: numbers have both commas and points ('{marks[',']}', '{marks['.']}'); "
                "remove the thousands separators"
            )
        return values

    def without_empty_end(self) -> Table:
        """Drop empty rows at the end, which spreadsheets leave behind."""
        rows = len(self)
        while rows and all(is_missing(clean(self.cell(name, rows - 1))) for name in self.columns):
            rows -= 1
        return Table(self.file, {name: column.slice(0, rows) for name, column in self.columns.items()})

    def cell(self, name: str, row: int) -> str:
        """A cell as written in the file."""
        value = self.columns[name][row].as_py()
        return "" if value is None else str(value)

    def is_idle(self, name: str) -> bool:
        """Whether a column is empty, or numbers the rows from 0."""
        texts = self.texts(name)
        return all(text is None for text in texts) or texts == [str(row) for row in range(len(self))]

    def _numbers(self, name: str, marks: dict[str, str]) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute

        pc: Any = pyarrow.compute  # its functions are created on import
        column, kind = self.columns[name], self.columns[name].type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if pa.types.is_null(kind):
            return np.full(len(column), np.nan)
        if not _is_text(kind):
            raise InputError(f"{self.file.path}: column '{name}' holds {kind}, not numbers")
        text = pc.utf8_trim_whitespace(column)
        if self.file.decimal_commas:
            for mark in ",.":
                holding = pc.match_substring(text, mark)
                if mark not in marks and pc.any(holding).as_py():
                    marks[mark] = text[pc.index(holding, True).as_py()].as_py()
            text = pc.replace_substring(text, ",", ".")
        try:
            plain = pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
            return plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:  # a word for a missing value, or an error
            return self._numbers_of_cells(name, text)

    def _numbers_of_cells(self, name: str, column: pa.ChunkedArray) -> np.ndarray:
        words, codes = _distinct(column)
        values = np.empty(len(words) + 1)
        values[-1] = np.nan
        for place, word in enumerate(words.to_pylist()):
            cell = clean(word)
            if not (missing := is_missing(cell) or cell in ("None", "none")) and not _FLOAT.fullmatch(cell):
                row = int((codes == place).argmax())
                where = f"{self.file.path}: column '{name}', row {row + 1}"
                raise InputError(f"{where}: '{self.cell(name, row)[:60]}' is not a number{self.file.hint}")
            values[place] = np.nan if missing else float(cell)
        return values[codes]


def open_table(source: Any) -> TableFile:
    """Read the header of a .csv, .tsv or .parquet file, or of a table in memory (`is_table`).

    Raises InputError if it is not a table.
    """
    if is_table(source):
        return _of_arrow(as_arrow(source))
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a table must be a .csv, .tsv or .parquet file, not '{path.suffix}'")
    size = regular_size(path)
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            file = open_parquet(path)
            index = clean(file.header[-1]) if file.index is not None else None
            metadata, decimal_commas = file.metadata, False
        else:
            file = open_text(path)
            index, metadata, decimal_commas = None, {}, file.separator != ","
    return TableFile(path, _names(path, file.header), metadata, index, decimal_commas, size, file.load)


def is_table(source: Any) -> bool:
    """Whether this is a table in memory: of pandas, polars, Arrow, or another library that can export to Arrow."""
    return hasattr(source, "__arrow_c_stream__")


def as_arrow(source: Any) -> pa.Table:
    """Convert a table in memory to Arrow. Raises InputError for a column with cells of different types."""
    import pyarrow as pa

    with _readable(IN_MEMORY):
        table = pa.table(source)
        plain = [field.with_type(pa.string()) if field.type == pa.string_view() else field for field in table.schema]
        return table.cast(pa.schema(plain, table.schema.metadata))


def digest_of(table: pa.Table) -> str:
    """Digest of the names, types and cells of a table."""
    import pyarrow as pa

    written = pa.BufferOutputStream()
    with pa.ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    return blake2b(written.getvalue(), digest_size=16).hexdigest()


def _of_arrow(table: pa.Table) -> TableFile:
    names = _names(IN_MEMORY, table.column_names)
    return TableFile(IN_MEMORY, names, {}, None, False, table.nbytes, lambda places: [table[p] for p in places])


def _names(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    COLUMNS.check(len(header), f"{path}")
    return tuple(clean(name) or _NAMELESS.format(place) for place, name in enumerate(header))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors of the decoder, the CSV parser and pyarrow to InputError."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise InputError(
            f"{path}: is not {error.encoding.upper()} text ({byte}); perhaps Windows-1252 or Latin-1; save it as UTF-8"
        ) from None
    except (pa.ArrowException, csv.Error, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table ({reason(error)})") from error


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _distinct(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Distinct values of a column, and the index of each cell's value, -1 if null."""
    import pyarrow as pa

    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array: Any = column.combine_chunks()
    if not len(column):
        return pa.array([], pa.string()), np.empty(0, int)
    return array.dictionary, array.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _written(words: pa.Array, where: str) -> list[str]:
    """Convert values to texts. Raises InputError for values that have no unique text form."""
    import pyarrow as pa

    kind = words.type
    if _is_text(kind):
        return ["" if word is None else word for word in words.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return ["" if word is None else str(word) for word in words.to_pylist()]
    if pa.types.is_decimal(kind):
        return ["" if word is None else f"{word.normalize():f}" for word in words.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return ["" if word is None else word for word in words.cast(pa.string()).to_pylist()]
    if not pa.types.is_floating(kind):
        raise InputError(f"{where} holds {kind}, not texts or numbers")
    exact = 2 ** {16: 11, 32: 24, 64: 53}[kind.bit_width]
    values = words.to_pylist()
    for value in values:
        if value is not None and exact <= abs(value) < float("inf"):
            raise InputError(f"{where}: {value:.0f} is too large for a {kind} and was rounded; store it as text")
    return ["" if v is None else str(int(v)) if v.is_integer() else str(v) for v in values]
