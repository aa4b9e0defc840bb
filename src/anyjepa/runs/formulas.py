"""Escape texts in .csv files that a spreadsheet would run as formulas, so that programs can restore them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_START = re.compile(r"[=+\-@\t\r\n'＝＋－＠]")  # East Asian settings also accept full-width signs
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def guard(text: str) -> str:
    """Put an apostrophe before a text that begins like a formula or with an apostrophe; numbers stay unchanged.

    `text.removeprefix("'")` restores the text.
    """
    return f"'{text}" if _START.match(text) and not _NUMBER.fullmatch(text) else text


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with `guard` applied to every text and column name.

    Other values that are not numbers, such as lists, are written as Python shows them, guarded as well.
    """
    from pandas.api.types import is_numeric_dtype, is_scalar

    def guarded(value: Any) -> Any:
        return value if is_scalar(value) and not isinstance(value, str) else guard(str(value))

    texts = {name for name in table.columns if not is_numeric_dtype(table[name])}
    columns = {guard(str(name)): table[name].map(guarded) if name in texts else table[name] for name in table.columns}
    written = (*table.columns, *(value for name in texts for value in table[name]))
    returns = any("\r" in str(value) for value in written)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # which does not quote carriage returns
    type(table)(columns).to_csv(path, index=False, quoting=quoting)
