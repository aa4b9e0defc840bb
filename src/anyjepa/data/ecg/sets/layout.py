"""Interface of published data sets: recognise a folder, and list its records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


class Entry(NamedTuple):
    """A file, or a record in a file, that was listed but not yet read. Can be pickled."""

    where: str
    read: Callable[[], Sequence[Recording]]  # raises InputError
    files: tuple[Path, ...] = ()  # source files, except the signal files that a WFDB header names
    facts: str = ""  # row of the data set's table, as text


class Layout(Protocol):
    """A data set's folder; a module with these two functions is one."""

    def recognise(self, folder: Path, /) -> bool:
        """Whether the folder is this data set or a part of it. Called for every folder, so it must be fast."""
        ...

    def entries(self, folder: Path, unit: str | float | None, /) -> Iterator[Entry]:
        """Records in a fixed order. unit: replaces the unit in the files. Raises InputError for broken tables."""
        ...


def refused(where: str, message: str) -> Entry:
    """An entry that raises an error when it is read, so that the caller decides whether to skip it."""
    return Entry(where, _Refusal(f"{where}: {message}"), facts=message)


class _Refusal(NamedTuple):
    message: str

    def __call__(self) -> Sequence[Recording]:
        raise InputError(self.message)


def read_index(path: Path, key: str, columns: Sequence[str], prefix: str | None = None) -> pd.DataFrame:
    """Read the table that lists a data set's records: unique `key` and `columns` as text, missing cells ''.

    prefix: also read columns that begin with it. Raises InputError with the file and the column or row.
    """
    import pandas as pd

    file = open_table(path)
    more = [column for column in file.names if prefix and column.startswith(prefix)]
    table = file.read([key, *columns, *more]).without_empty_end()
    index = pd.DataFrame({name: [cell or "" for cell in table.texts(name)] for name in table.columns}, dtype=str)
    twice = index.duplicated(subset=[key]).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise InputError(f"{path}: row {row + 1}: {key} '{index.at[row, key]}' occurs twice")
    return index


def lies_in(folder: str, path: str) -> bool:
    """Whether a relative path in a table leads to a subfolder of the data set, and not out of it."""
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == folder and ".." not in parts


def check_cells(table: pd.DataFrame, path: Path, column: str, pattern: str, right: str) -> None:
    """Raise InputError for the first cell of a column that does not match. right: description of a valid cell."""
    for cell in table[column].unique():
        if not re.fullmatch(pattern, cell):
            row = int((table[column] == cell).to_numpy().argmax())
            raise InputError(f"{path}: row {row + 1}: column '{column}' is '{cell[:60]}'; it must be {right}")


AGE = (r"([0-9]{1,3}(\.[0-9]*)?)?", "a number of years, or empty")  # of `check_cells`


def years(text: str) -> float | None:
    """Parse an age in years; None if unknown or replaced (300 means 'over 89' in PTB-XL and the Challenges)."""
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None
