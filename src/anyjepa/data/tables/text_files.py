"""Text tables: detect encoding, separator and header; a row that does not fit the header is an error."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from anyjepa.data.files import read_bytes
from anyjepa.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.csv import InvalidRow

SEPARATORS = (",", ";", "\t", "|")
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # starts like UTF-16, so it must come first
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_OTHERS = {
    b"PK\x03\x04": "a zip file or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed by gzip",
    b"PAR1": "a Parquet file",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
_STATED = re.compile(r"sep=[,;|\t][\r\n]*")  # Excel's own first line
_HEADER = 1 << 24  # characters of the longest header; a block of rows in bytes
_SAMPLE = 1 << 20  # characters, of at most 50 lines, from which the separator is recognised


@dataclass(frozen=True)
class TextFile:
    """A text table: its header, and its rows as UTF-8."""

    path: Path
    header: tuple[str, ...]
    separator: str
    rows: bytes = field(repr=False)

    def load(self, places: Sequence[int]) -> list[pa.ChunkedArray]:
        """Read the columns at these positions as text. Raises InputError for a row that does not fit the header."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        if not self.rows:
            return [pa.chunked_array([], pa.string()) for _ in places]
        names = [str(place) for place in range(len(self.header))]
        wrong: list[InvalidRow] = []

        def refuse(row: InvalidRow) -> str:
            if not row.text.strip(f'{self.separator}" \r\n\t\x1a'):  # a spreadsheet's empty row
                return "skip"
            wrong.append(row)
            return "error"

        try:
            table = arrow.read_csv(
                pa.BufferReader(self.rows),
                arrow.ReadOptions(use_threads=False, block_size=_HEADER, column_names=names),
                arrow.ParseOptions(
                    delimiter=self.separator,
                    newlines_in_values=True,
                    ignore_empty_lines=len(names) > 1,  # with one column these are empty cells
                    invalid_row_handler=refuse,
                ),
                arrow.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), include_columns=[names[p] for p in places]
                ),
            )
        except pa.ArrowException:
            if wrong:
                raise InputError(f"{self.path}: {self._misfit(wrong[0])}") from None
            raise
        if len(names) == 1:
            full = self.rows.rstrip(b"\r\n")
            empty = len(self.rows[len(full) :].splitlines()) - bool(full)
            table = table.slice(0, len(table) - max(0, empty))
        return [table.column(str(place)) for place in places]

    def _misfit(self, row: InvalidRow) -> str:
        header = f"the header has {row.expected_columns} ('{self.separator.join(self.header)[:40]}')"
        return f"row {row.number} has {row.actual_columns} cells, but {header}; every row needs one cell per column"


def open_text(path: Path) -> TextFile:
    """Read a text table separated by comma, semicolon, tab or bar. Raises InputError."""
    content = read_bytes(path, limit=None)
    start = content[:16].lower()
    for magic, what in _OTHERS.items():
        if start.startswith(magic.lower()):
            raise InputError(f"{path}: is {what}, not text; save it as CSV (UTF-8)")
    mark, encoding = next((pair for pair in _MARKS.items() if content.startswith(pair[0])), (b"", "utf-8"))
    text = content[len(mark) :].decode(encoding)
    if "\0" in text:
        raise InputError(f"{path}: contains zero bytes, so it is damaged, or perhaps UTF-16; save it as UTF-8")
    top = io.StringIO(text[: _HEADER + _SAMPLE], newline="")
    line, separator, first = top.readline(_HEADER), "", 0
    while line and (not line.strip() or _STATED.fullmatch(line)):
        separator = line[4] if line.strip() else separator
        first += len(line)
        line = top.readline(_HEADER)
    if len(line) == _HEADER:
        raise InputError(f"{path}: the first line, which must name the columns, has over {_HEADER:,} characters")
    if not line:
        raise InputError(f"{path}: is empty; the first line must name the columns")
    lines, left = [line], _SAMPLE
    while left > 0 and lines[-1]:
        lines.append(top.readline(left))
        left -= max(len(lines[-1]), _SAMPLE // 50)
    separator = separator or _separator(lines, preferred="\t" if path.suffix.lower() == ".tsv" else ",")
    rows = csv.reader(lines, delimiter=separator)
    header = next(rows)
    first += len("".join(lines[: rows.line_num]))
    sample = _sample(lines, separator)[1:]
    if sample and all(len(row) == len(header) + 1 and not row[-1] for row in sample):
        header.append("")  # rows end in a separator
    if text.count('"') % 2:  # or '"' means inch
        _check_quotes(path, text, separator)
    return TextFile(path, tuple(header), separator, text[first:].encode())


def _check_quotes(path: Path, text: str, separator: str) -> None:
    """Raise InputError if the table ends in an unclosed quote, which would swallow rows."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        deque(rows, maxlen=0)
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: a quote is not closed ({error})") from None


def _separator(lines: Sequence[str], preferred: str) -> str:
    """The separator with which the first rows match the header and have the most cells."""

    def fit(separator: str) -> tuple[bool, bool, int]:
        header, *cells = map(len, _sample(lines, separator) or [[]])
        return header > 1, set(cells) <= {header}, header

    return max(sorted(SEPARATORS, key=lambda one: one != preferred), key=fit)


def _sample(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The header and some complete rows."""
    rows = []
    with suppress(csv.Error):  # a cell of over 131,072 characters
        rows.extend(row for row in csv.reader(lines, delimiter=separator) if any(map(str.strip, row)))
    return rows[:-1] if lines[-1] else rows  # the last line may end within a quoted cell
