"""Read ECGs from tables: a `.csv` or `.parquet` file is one record, with one column per lead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.ecg.leads import LEADS, canonical_lead
from anyjepa.data.ecg.recording import Recording, check_rate, millivolts_per
from anyjepa.data.tables.cells import clean, is_missing
from anyjepa.data.tables.table import Table, open_table
from anyjepa.errors import InputError, did_you_mean

FACTS = ("fs", "unit", "patient")


def read_table(
    path: Path,
    id: str,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    source: str = "",
) -> Recording:
    """Read one record: one row per sample, one column per lead. Empty cells are invalid samples.

    fs (Hz), unit and patient come from the arguments, from columns of that name with a single value, or from the
    metadata of a Parquet file; fs also from a column `time_s` (s). leads: lead columns to read; None: recognise them by
    name. Raises InputError for any other column.
    """
    file = open_table(path)
    stated = [name for name in (*FACTS, "time_s") if name in file.names]
    table = file.read_all() if leads is None else file.read([*stated, *leads])
    facts: dict[str, Any] = {name: clean(file.metadata[name]) for name in FACTS if name in file.metadata}
    facts |= {name: _single(table, name) for name in FACTS if name in table.columns}
    names = _lead_columns(table) if leads is None else [clean(lead) for lead in leads]
    times = ["time_s"] if "time_s" in table.columns else []
    signal = table.numbers([*times, *names])
    if times:
        facts.setdefault("fs", _rate(signal[0], path))
    fs = facts.get("fs") if fs is None else fs
    unit = facts.get("unit") if unit is None else unit
    for name, value in (("fs", fs), ("unit", unit)):
        if value is None:
            raise InputError(
                f"{path}: '{name}' is missing from the table; add a column '{name}', or pass --{name} "
                f"(in Python, {name}=)"
            )
    return Recording(
        id=id,
        signal=signal[len(times) :] * millivolts_per(unit, str(path)),
        fs=check_rate(fs, str(path)),
        leads=tuple(names),
        patient=_name(facts.get("patient")),
        source=source,
        file=str(path),
    )


def _single(table: Table, name: str) -> str | None:
    values = set(table.texts(name))
    if len(values) != 1:
        raise InputError(
            f"{table.file.path}: column '{name}' must have a single value, not {len(values)}; a file is one record"
        )
    return values.pop()


def _rate(times: np.ndarray, path: Path) -> float:
    steps = np.diff(times) if np.isfinite(times).all() else times[:0]
    usual = np.median(steps) if len(steps) else 0.0
    if not usual > 0 or not np.all(np.abs(steps - usual) <= 0.01 * usual):
        raise InputError(f"{path}: column 'time_s' is not evenly spaced; resample it first")
    return float(len(steps) / (times[-1] - times[0]))


def _lead_columns(table: Table) -> list[str]:
    columns = [column for column in table.columns if column not in (*FACTS, "time_s")]
    for column in columns:
        if canonical_lead(column) not in LEADS:
            like = did_you_mean(column, (*LEADS, *FACTS, "time_s"))
            fix = table.file.hint or f"{like}; name the lead columns with leads=[...]"
            raise InputError(f"{table.file.path}: column '{column}' is not a lead{fix}")
    return columns


def _name(cell: str | None) -> str | None:
    return None if cell is None or is_missing(cell) or cell == "None" else cell
