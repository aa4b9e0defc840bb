"""ECGs from NumPy arrays, `.npz` and `.npy` files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.array_likes import as_array, as_ids, as_list, as_names, as_records
from anyjepa.data.ecg.checks import check, warn_about
from anyjepa.data.ecg.recording import Recording, check_rate, millivolts_per
from anyjepa.errors import InputError

NPZ_KEYS = ("signals", "fs", "leads", "unit", "ids", "patients")
RECORD_BYTES = 1000  # memory of a record in addition to its samples


def from_arrays(
    signals: Any,
    *,
    fs: float,
    leads: Sequence[str],
    unit: str | float,
    ids: Sequence[Any] | None = None,
    patients: Sequence[Any] | None = None,
    source: str = "array",
    file: str = "",
    warn: bool = True,
) -> list[Recording]:
    """Recordings from an array (N, L, T), one record (L, T), or a list of (L, T) of any lengths.

    signals: NumPy arrays or tensors; NaN and masked values mark invalid samples. fs in Hz; leads: L names in the
    array's order; unit: 'mV', 'uV', 'V', 'nV', or the mV that one unit is. ids default to '0', '1', ...; ids and
    patients are texts or numbers (1.0 is '1'), one per record by position; a missing patient (None, NaN, '') is
    unknown. warn: issue what `check` finds as DataWarnings. Raises InputError.
    """
    where = file or "signals"
    fs, leads = check_rate(fs, where), _lead_names(leads, where)
    records = _split(signals, leads, where)
    count, prefix = len(records), f"{file}: " if file else ""
    names = list(map(str, range(count))) if ids is None else as_ids(ids, count, f"{prefix}ids")
    groups = [None] * count if patients is None else as_names(patients, count, f"{prefix}patients")
    factor = millivolts_per(unit, where)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow becomes infinite, which `Recording` does not accept
        recordings = [
            Recording(
                id=id,
                signal=record * factor,
                fs=fs,
                leads=leads,
                patient=patient,
                source=source,
                file=f"{file}: record '{id}'" if file else "",
            )
            for id, patient, record in zip(names, groups, records, strict=True)
        ]
    if warn:
        warn_about(check(recordings))
    return recordings


def read_npz(
    path: Path,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    source: str = "",
) -> list[Recording]:
    """Records of an `.npz` file with the keys `NPZ_KEYS`, or of an `.npy` file with the signals alone.

    signals (N, L, T) or (L, T); fs, leads, unit as in `from_arrays`: from the file, or by argument where it lacks them;
    ids, patients optional. Pickled objects are refused.
    """
    stored = read_arrays(path, NPZ_KEYS, value_bytes=8, row_bytes=RECORD_BYTES)
    facts = {"fs": fs, "leads": leads, "unit": unit}
    for key, value in facts.items():
        if key in stored and value is None:
            facts[key] = stored[key].tolist()
        elif value is None:
            raise InputError(f"{path}: '{key}' is missing from the file; pass --{key} (in Python, {key}=)")
    if "signals" not in stored:
        raise InputError(f"{path}: key 'signals' is missing; there are: {', '.join(stored)}")
    recordings = from_arrays(
        stored["signals"],
        **facts,
        ids=_names(stored.get("ids")),
        patients=_names(stored.get("patients")),
        source=source,
        file=str(path),
        warn=False,
    )
    if not recordings:
        raise InputError(f"{path}: contains no record")
    return recordings


def _names(stored: Any) -> Any:
    """A file with one record may contain a single text instead of a list."""
    return None if stored is None else np.atleast_1d(stored)


def _lead_names(leads: Any, where: str) -> tuple[str, ...]:
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in as_list(leads, where)]
        "".join(names).encode()  # raises for lone surrogates
    except (InputError, UnicodeError, TypeError):
        names = []
    if not names or not all(name.strip() for name in names):
        raise InputError(f"{where}: leads are {leads!r}; they must be a list of names such as ['I', 'II', 'V1']")
    return tuple(map(str, names))


def _split(signals: Any, leads: tuple[str, ...], where: str) -> list[np.ndarray]:
    """Split into a list of records, (L, T) float64 each. Raises InputError for shapes that do not fit."""
    records = as_records(signals, where)
    if isinstance(records, np.ndarray):
        if records.ndim not in (2, 3):
            raise InputError(f"{where}: shape {records.shape} must be (records, leads, samples) or (leads, samples)")
        records = records[None] if records.ndim == 2 else records
    return [
        _as_record(record, leads, f"{where}[{i}]" if len(records) > 1 else where) for i, record in enumerate(records)
    ]


def _as_record(record: Any, leads: tuple[str, ...], where: str) -> np.ndarray:
    record = as_array(record, where)
    if record.ndim != 2 or record.shape[0] != len(leads):
        transposed = record.ndim == 2 and record.shape[1] == len(leads)
        hint = "; the samples come first: swap the last two axes" if transposed else ""
        raise InputError(
            f"{where}: shape {record.shape} does not match the {len(leads)} leads; "
            f"it must be ({len(leads)}, samples){hint}"
        )
    with np.errstate(invalid="ignore"):  # of signalling NaN
        return record.astype(np.float64)
