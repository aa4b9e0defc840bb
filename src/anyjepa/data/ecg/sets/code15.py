"""CODE-15% (Ribeiro et al. 2021): 345,779 exams of 233,770 patients, 12 leads, 400 Hz, in `exams_part*.hdf5`.

A part contains `exam_id` (N,) and `tracings` (N, 4096, 12) in mV; exams of 7 s are padded with zeros on both sides,
which are removed here. The last row of a part is not an exam (id 0). `exams.csv` lists the patient and six
abnormalities. Parts that were not downloaded are skipped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.recording import Recording, millivolts_per
from anyjepa.data.ecg.sets.layout import AGE, Entry, check_cells, read_index, refused, years
from anyjepa.data.hdf5 import check_memory, open_hdf5
from anyjepa.errors import InputError
from anyjepa.limits import check_size

TABLE = "exams.csv"
ABNORMALITIES = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
FS = 400.0
_TRUE = ("true", "1", "1.0")  # and upper case
_TRUTH = r"(?i)true|false|[01](\.0)?"
_BLOCK = 64  # exams read at a time, 12 MiB: a part may be compressed in chunks of many exams


class Row(NamedTuple):
    """A line of the table, as text."""

    exam_id: str
    patient_id: str
    age: str
    is_male: str
    trace_file: str
    abnormalities: tuple[str, ...]


def recognise(folder: Path) -> bool:
    return os.path.lexists(folder / TABLE) and any(folder.glob("*.hdf5"))


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    facts = [field for field in Row._fields[1:] if field != "abnormalities"]
    index = read_index(folder / TABLE, "exam_id", [*facts, *ABNORMALITIES])
    for column in ABNORMALITIES:
        check_cells(index, folder / TABLE, column, _TRUTH, "True or False")
    check_cells(index, folder / TABLE, "is_male", f"{_TRUTH}|", "True, False or empty")
    check_cells(index, folder / TABLE, "age", *AGE)
    rows = index[["exam_id", *facts, *ABNORMALITIES]].itertuples(index=False, name=None)
    exams = {row[0]: Row._make((*row[:5], row[5:])) for row in rows}
    for part in sorted(folder.glob("*.hdf5")):
        ids = _exam_ids(part)
        for place, exam in enumerate(ids):
            where = f"{part}: exam {exam}"
            if exam in exams:
                row = exams[exam]
                yield Entry(where, partial(_read, part, place, row, unit, where), (part,), str(row))
            elif exam != "0":
                yield refused(where, f"is not listed in {TABLE}")
        held = set(ids)
        for row in exams.values():
            if row.trace_file == part.name and row.exam_id not in held:
                yield refused(f"{part}: exam {row.exam_id}", f"is listed in {TABLE}, but not in this file")


def _exam_ids(part: Path) -> list[str]:
    with _opened(part) as file:
        ids, shape = file["exam_id"][()], file["tracings"].shape
    if ids.ndim != 1:
        raise InputError(f"{part}: 'exam_id' has shape {ids.shape}; it must be one number per exam")
    for place in np.flatnonzero(~np.isfinite(ids) | (ids != np.floor(ids)))[:1]:
        raise InputError(f"{part}: row {place + 1}: exam_id {ids[place]} is not a whole number")
    if len(shape) != 3 or shape[0] != len(ids) or shape[2] != len(LEADS):
        raise InputError(f"{part}: 'tracings' have shape {shape}; {len(ids)} exams need ({len(ids)}, samples, 12)")
    return [str(int(exam)) for exam in ids]


def _read(part: Path, place: int, row: Row, unit: str | float | None, where: str) -> Sequence[Recording]:
    start = place // _BLOCK * _BLOCK
    trace = _block(part, start)[place - start]  # (samples, 12)
    there = np.flatnonzero(trace.any(axis=1))
    if not len(there):
        raise InputError(f"{where}: the trace is empty (zeros only)")
    recording = Recording(
        id=f"code-15/{row.exam_id}",
        signal=trace[there[0] : there[-1] + 1].T * millivolts_per(unit or "mV", where),
        fs=FS,
        leads=LEADS,
        patient=row.patient_id or None,
        statements=frozenset(
            n for n, cell in zip(ABNORMALITIES, row.abnormalities, strict=True) if cell.lower() in _TRUE
        ),
        source="code-15",
        age=years(row.age),
        sex=("M" if row.is_male.lower() in _TRUE else "F") if row.is_male else None,
        file=where,
    )
    return [recording]


@lru_cache(maxsize=2)
def _block(part: Path, start: int) -> np.ndarray:
    """(up to _BLOCK, samples, 12): exams of one part. The file is closed again, because processes may share it."""
    with _opened(part) as file:
        return file["tracings"][start : start + _BLOCK]


@contextmanager
def _opened(part: Path) -> Iterator[Any]:
    """Open an HDF5 file with the two arrays of a part. Raises InputError, also for errors of h5py."""
    try:
        with open_hdf5(part) as file:
            for name in ("exam_id", "tracings"):
                if name not in file:
                    raise InputError(f"{part}: has no '{name}'; it has: {', '.join(file) or 'nothing'}")
                array = file[name]
                if getattr(array, "shape", None) is None or array.dtype.kind not in "iuf":
                    raise InputError(f"{part}: '{name}' is not an array of numbers")
            check_memory(part, "exam_id")
            _check_block(part, file["tracings"])
            yield file
    except ImportError as error:
        raise InputError(f"{part}: needs the h5py package: pip install 'anyjepa[ecg]'") from error


def _check_block(part: Path, traces: Any) -> None:
    """Raise InputError if a block of exams, or the chunk that contains it, needs too much memory."""
    values = min(math.prod(traces.shape), _BLOCK * math.prod(traces.shape[1:]))
    needed = max(values, math.prod(traces.chunks or ())) * traces.dtype.itemsize
    check_size(needed, part.stat().st_size, f"{part}: 'tracings' of {_BLOCK} exams")
