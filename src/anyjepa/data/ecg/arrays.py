"""ECGs from NumPy arrays, `.npz` and `.npy` files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.ecg.checks import check, warn_about
from anyjepa.data.ecg.recording import Recording, check_rate, millivolts_per
from anyjepa.errors import InputError

NPZ_KEYS = ("signals", "fs", "leads", "unit", "ids", "patients")
RECORD_BYTES = 1000  # of a record in memory, besides its samples


def from_arrays(
    signals: np.ndarray | Sequence[np.ndarray],
    *,
    fs: float,
    leads: Sequence[str],
    unit: str | float,
    ids: Sequence[str] | None = None,
    patients: Sequence[str] | None = None,
    source: str = "array",
    file: str = "",
    warn: bool = True,
) -> list[Recording]:
    """Recordings from an array (N, L, T), one record (L, T), or a list of (L, T) of any lengths.

    fs in Hz; leads: L names in the array's order; unit: 'mV', 'uV', 'V', 'nV', or the mV that one unit is.
    ids default to '0', '1', ...; NaN marks invalid samples. warn: tell what
    `check` finds as DataWarnings. InputError if shapes, names or units do not fit.
    """
    fs, leads = check_rate(fs, file or "signals"), _lead_names(leads, file or "signals")
    records = _split(signals, leads, file or "signals")
    ids = [str(i) for i in range(len(records))] if ids is None else [str(i) for i in ids]
    for name, values in (("ids", ids), ("patients", patients)):
        if values is not None and len(values) != len(records):
            raise InputError(f"{file or 'signals'}: {len(records)} records, but {len(values)} {name}")
    factor = millivolts_per(unit, file or "signals")
    recordings = [
        Recording(
            id=id,
            signal=record * factor,
            fs=fs,
            leads=leads,
            patient=None if patients is None else str(patients[number]),
            source=source,
            file=f"{file}: record '{id}'" if file else "",
        )
        for number, (id, record) in enumerate(zip(ids, records, strict=True))
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
    given = {"fs": fs, "leads": leads, "unit": unit}
    for key, value in given.items():
        if key in stored and value is None:
            given[key] = stored[key].tolist()
        elif value is None:
            raise InputError(f"{path}: '{key}' is neither in the file nor given; pass {key}=")
    if "signals" not in stored:
        raise InputError(f"{path}: key 'signals' is missing; there are: {', '.join(stored)}")
    recordings = from_arrays(
        stored["signals"],
        **given,
        ids=_strings(stored, "ids", path),
        patients=_strings(stored, "patients", path),
        source=source,
        file=str(path),
        warn=False,
    )
    if not recordings:
        raise InputError(f"{path}: there is no record in it")
    return recordings


def _strings(stored: dict[str, np.ndarray], key: str, path: Path) -> list[str] | None:
    if key not in stored:
        return None
    values = np.atleast_1d(stored[key])
    if values.ndim > 1 or values.dtype.kind not in "Uiu":
        raise InputError(
            f"{path}: '{key}' has shape {values.shape} and type {values.dtype}; "
            "it must be a list of texts or whole numbers, one a record"
        )
    return [str(value) for value in values]


def _lead_names(leads: object, where: str) -> tuple[str, ...]:
    names = tuple(leads) if isinstance(leads, Iterable) and not isinstance(leads, str) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where}: leads are {leads!r}; they must be a list of names, as ['I', 'II', 'V1']")
    return names


def _split(signals: np.ndarray | Sequence[np.ndarray], leads: tuple[str, ...], where: str) -> list[np.ndarray]:
    """A list of (L, T) float64."""
    if isinstance(signals, np.ndarray) and signals.ndim not in (2, 3):
        raise InputError(f"{where}: shape {signals.shape} must be (records, leads, samples) or (leads, samples)")
    records = [signals] if isinstance(signals, np.ndarray) and signals.ndim == 2 else list(signals)
    return [
        _as_record(record, leads, f"{where}[{i}]" if len(records) > 1 else where) for i, record in enumerate(records)
    ]


def _as_record(record: np.ndarray, leads: tuple[str, ...], where: str) -> np.ndarray:
    record = np.asarray(record)
    if record.dtype.kind not in "iuf":
        raise InputError(f"{where}: values of type {record.dtype} are no numbers")
    if record.ndim != 2 or record.shape[0] != len(leads):
        transposed = record.ndim == 2 and record.shape[1] == len(leads)
        hint = "; the samples come first: swap the last two axes" if transposed else ""
        raise InputError(
            f"{where}: shape {record.shape} does not fit the {len(leads)} leads named; "
            f"it must be ({len(leads)}, samples){hint}"
        )
    return record.astype(np.float64)
