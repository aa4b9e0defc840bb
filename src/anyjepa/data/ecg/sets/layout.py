"""What a published data set's folder must tell: whether this is it, and which records it holds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


class Entry(NamedTuple):
    """What was found but not yet read: a file, or a record of one. Can be pickled."""

    where: str
    read: Callable[[], Sequence[Recording]]  # raises InputError
    files: tuple[Path, ...] = ()  # what it is read from, beside the signal files that a WFDB header names
    facts: str = ""  # what else it is made of, as the data set's table says it


class Layout(Protocol):
    """A data set's folder; a module with these two functions is one."""

    def recognise(self, folder: Path, /) -> bool:
        """Whether the folder is this data set, or a part of it. Asked of every folder, so it must be quick."""
        ...

    def entries(self, folder: Path, unit: str | float | None, /) -> Iterator[Entry]:
        """Its records, in a fixed order. unit: over what the files say. InputError if its tables are broken."""
        ...


def refused(where: str, message: str) -> Entry:
    """A record that cannot be read: the error is raised when its turn comes, so that the caller's policy decides."""
    return Entry(where, _Refusal(f"{where}: {message}"), facts=message)


class _Refusal(NamedTuple):
    message: str

    def __call__(self) -> Sequence[Recording]:
        raise InputError(self.message)


def read_index(path: Path, key: str, columns: Sequence[str], prefix: str | None = None) -> pd.DataFrame:
    """The table that lists a data set's records: `key` and `columns` as text, empty cells ''; no key or column twice.

    prefix: further columns are those that begin so. InputError names the file and the column or row.
    """
    import pandas as pd

    regular_size(path)
    wanted = (key, *columns)
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        for column in wanted:
            if header.count(column) != 1:
                problem = "there twice" if column in header else f"missing{did_you_mean(column, header)}"
                raise InputError(f"{path}: column '{column}' is {problem}")
        more = [column for column in header if prefix and column.startswith(prefix)]
        with warnings.catch_warnings():  # pandas only warns of rows with more cells than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False, dtype=str, keep_default_na=False, na_values=[""])
    except InputError:
        raise
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: cannot be read as a table ({str(error).splitlines()[0][:200]})") from error
    table = pd.DataFrame(table, columns=[*wanted, *more]).fillna("")
    twice = table.duplicated(subset=[key]).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise InputError(f"{path}: row {row + 1}: {key} '{table.at[row, key]}' is there twice")
    return table


def lies_in(folder: str, path: str) -> bool:
    """Whether a relative path of a table leads into a subfolder of the data set, and not out of it again."""
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == folder and ".." not in parts


def check_cells(table: pd.DataFrame, path: Path, column: str, pattern: str, right: str) -> None:
    """InputError for the first cell of a column that does not match; right: what a cell must be, in words."""
    for cell in table[column].unique():
        if not re.fullmatch(pattern, cell):
            row = int((table[column] == cell).to_numpy().argmax())
            raise InputError(f"{path}: row {row + 1}: column '{column}' is '{cell[:60]}'; it must be {right}")


def whole(text: str) -> str:
    """'15709.0' as '15709', which an empty cell elsewhere has made of it."""
    return text.removesuffix(".0")


AGE = (r"([0-9]{1,3}(\.[0-9]*)?)?", "a number of years, or empty")  # of `check_cells`


def years(text: str) -> float | None:
    """An age; None where it is unknown or replaced (300 stands for 'over 89' in PTB-XL and the Challenges)."""
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None
