"""ECGs from tables: a `.csv` or `.parquet` file is one record, a column is one lead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.ecg.leads import LEADS, canonical_lead
from anyjepa.data.ecg.recording import Recording, check_rate, millivolts_per
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("fs", "unit", "patient")


def read_table(
    path: Path,
    id: str,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    source: str = "",
) -> Recording:
    """One record: a row is a sample, a column a lead; empty cells are invalid samples.

    fs (Hz), unit and patient come from the arguments, from columns of that name that hold one value, or from the
    metadata of a Parquet file; fs also from a column `time_s` (s). leads: the lead columns to read, if they are not to
    be recognised by their names. InputError for a column that is none of these.
    """
    table, facts = _load(path)
    for name in FACTS:
        if name in table.columns:
            facts[name] = _single(table.pop(name), path)
    if "time_s" in table.columns:
        facts.setdefault("fs", _rate(_numbers(table.pop("time_s"), path), path))
    names = _lead_columns(table, leads, path)
    fs = facts.get("fs") if fs is None else fs
    unit = facts.get("unit") if unit is None else unit
    for name, value in (("fs", fs), ("unit", unit)):
        if value is None:
            raise InputError(
                f"{path}: '{name}' is neither in the table nor given; add a column '{name}' or pass {name}="
            )
    signal = np.stack([_numbers(table[name], path) for name in names])
    return Recording(
        id=id,
        signal=signal * millivolts_per(unit, str(path)),
        fs=check_rate(fs, str(path)),
        leads=tuple(names),
        patient=_name(facts.get("patient")),
        source=source,
        file=str(path),
    )


def _load(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pandas as pd
    import pyarrow.parquet as pq

    regular_size(path)
    try:
        if path.suffix.lower() == ".csv":
            with warnings.catch_warnings():  # pandas only warns of rows with more cells than the header
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return pd.read_csv(path, index_col=False, dtype={"patient": str}), {}
        table = pq.read_table(path)
        told = table.schema.metadata or {}
        facts = {name: told[name.encode()].decode(errors="replace") for name in FACTS if name.encode() in told}
        return table.to_pandas(), facts
    except Exception as error:  # pandas and pyarrow each raise their own
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"{path}: cannot be read as a table ({reason})") from error


def _single(column: pd.Series, path: Path) -> Any:
    try:
        values = column.unique()
    except TypeError as error:  # cells that are lists or tables
        raise InputError(f"{path}: column '{column.name}' must hold one text or number") from error
    if len(values) != 1:
        raise InputError(f"{path}: column '{column.name}' must hold one value, has {len(values)}; a file is one record")
    return values[0]


def _rate(times: np.ndarray, path: Path) -> float:
    steps = np.diff(times)
    usual = np.median(steps) if len(steps) else 0.0
    if not usual > 0 or not np.all(np.abs(steps - usual) <= 0.01 * usual):
        raise InputError(f"{path}: column 'time_s' is not evenly spaced; resample it first")
    return float(len(steps) / (times[-1] - times[0]))


def _lead_columns(table: pd.DataFrame, leads: Sequence[str] | None, path: Path) -> list[str]:
    columns = [str(column) for column in table.columns]
    for lead in leads or ():
        if lead not in columns:
            raise InputError(f"{path}: there is no column '{lead}'{did_you_mean(lead, columns)}")
    if leads is not None:
        return list(leads)
    for column in columns:
        if canonical_lead(column) not in LEADS:
            raise InputError(
                f"{path}: column '{column}' is no lead{did_you_mean(column, (*LEADS, *FACTS, 'time_s'))}; "
                "name the lead columns by leads=[...]"
            )
    return columns


def _numbers(column: Any, path: Path) -> np.ndarray:
    import pandas as pd

    if column.dtype.kind in "bmM":
        raise InputError(f"{path}: column '{column.name}' holds {column.dtype}, not numbers")
    numbers: Any = pd.to_numeric(column, errors="coerce")
    if (wrong := (numbers.isna() & column.notna()).to_numpy()).any():
        row = int(wrong.argmax())
        raise InputError(f"{path}: column '{column.name}', row {row + 1}: '{column.iloc[row]}' is no number")
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _name(cell: Any) -> str | None:
    """A cell as a name; None where it is empty, which pandas gives as NaN."""
    return None if cell is None or cell != cell else str(cell)
