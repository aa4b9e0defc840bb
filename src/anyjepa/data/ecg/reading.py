"""Read ECGs from files and folders.

Published data sets in their layouts; WFDB, NumPy, CSV, Parquet, DICOM, SCP-ECG, GE MUSE and HL7 aECG.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyjepa.data.ecg import store
from anyjepa.data.ecg.arrays import read_npz
from anyjepa.data.ecg.checks import Problem, check, warn_about
from anyjepa.data.ecg.dicom_files import read_dicom
from anyjepa.data.ecg.preprocessing import OnError
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets import code15, mimic, mitbih, ptb, ptbxl, st_petersburg
from anyjepa.data.ecg.sets.challenge import with_origin
from anyjepa.data.ecg.sets.layout import Entry, Layout
from anyjepa.data.ecg.tables import read_table
from anyjepa.data.ecg.vendor_files import read_scp, read_xml
from anyjepa.data.ecg.wfdb_files import read_wfdb
from anyjepa.data.ecg.wfdb_header import GAP, read_header
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError

SUFFIXES = (".hea", ".npz", ".npy", ".csv", ".parquet", ".dcm", ".scp", ".xml")
LAYOUTS: tuple[Layout, ...] = (store, ptbxl, mimic, code15, mitbih, ptb, st_petersburg)


@dataclass(frozen=True)
class Reading:
    """What was read: recordings with distinct ids, files left out and why, and what looks wrong in the rest."""

    recordings: list[Recording]
    skipped: dict[str, str]
    problems: list[Problem]


def read(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    warn: bool = True,
) -> Reading:
    """All ECGs in files and folders, in memory; `find` says which, `iterate` has them one at a time.

    warn: tell what `check` finds as one DataWarning a kind. InputError if nothing can be read.
    """
    skipped: dict[str, str] = {}
    recordings = list(iterate(paths, fs=fs, leads=leads, unit=unit, on_error=on_error, skipped=skipped))
    if not recordings:
        if not skipped:
            raise InputError("no ECG could be read: no path was given")
        files = f"{len(skipped)} file{'s' * (len(skipped) > 1)}"
        raise InputError(f"no ECG could be read ({files} skipped); the first: {next(iter(skipped.values()))}")
    problems = check(recordings)
    if warn:
        warn_about(problems)
    return Reading(recordings, skipped, problems)


def iterate(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    skipped: dict[str, str] | None = None,
) -> Iterator[Recording]:
    """The ECGs in files and folders, in mV, each read when it is asked for; see `find` for which, and the options.

    on_error: raise, or pass over what cannot be read and put it with the reason into `skipped`. InputError also for an
    id that occurs twice.
    """
    seen: dict[str, str] = {}
    for entry in find(paths, fs=fs, leads=leads, unit=unit):
        try:
            recordings = entry.read()
        except InputError as error:
            if on_error == "raise":
                raise
            if skipped is not None:
                skipped[entry.where] = str(error)
            continue
        for recording in recordings:
            if recording.id in seen:
                other = seen[recording.id]
                raise InputError(
                    f"{recording.where}: id '{recording.id}' is also that of {other}; read their common folder"
                )
            seen[recording.id] = recording.where
            yield recording


def find(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> Iterator[Entry]:
    """What there is to read in files and folders, in a fixed order.

    A folder is searched recursively for data sets in one of the `LAYOUTS` and for WFDB headers; only if it has neither,
    for the other `SUFFIXES`. fs (Hz), leads and unit are for arrays and tables that do not say so themselves; for the
    others, unit is what one ADC unit is, instead of the file's gain and baseline (see `read_wfdb`).
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    if "" in paths:
        raise InputError("a path is empty; give a file or a folder ('.' is this folder)")
    read_one = partial(_read_file, fs=fs, leads=leads, unit=unit)
    for path in map(Path, paths):
        if os.path.isdir(path):  # unlike Path.is_dir it takes any name
            yield from _find_in(path, read_one, unit)
        else:
            regular_size(path)
            yield Entry(str(path), partial(read_one, path, path.parent), (path,))


def _find_in(
    root: Path, read_one: Callable[[Path, Path], list[Recording]], unit: str | float | None
) -> Iterator[Entry]:
    by_suffix: dict[str, list[Path]] = {suffix: [] for suffix in SUFFIXES}
    data_sets = False
    for folder, subfolders, names in os.walk(root, onerror=_unreadable):
        if layout := next((layout for layout in LAYOUTS if layout.recognise(Path(folder))), None):
            data_sets = True
            yield from layout.entries(Path(folder), unit)
            subfolders.clear()
        else:
            subfolders.sort()
            for file in (Path(folder, name) for name in names):
                by_suffix.get(file.suffix.lower(), []).append(file)
    files = _without_segments(sorted(by_suffix[".hea"]))
    if not files and not data_sets:
        files = sorted(file for files in by_suffix.values() for file in files)
        if not files:
            raise InputError(f"{root}: holds no ECG; files ending in {', '.join(SUFFIXES)} are read")
    for file in files:
        yield Entry(str(file), partial(read_one, file, root), (file,), str(root))


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error


def _without_segments(headers: list[Path]) -> list[Path]:
    """The headers that are not merely a part of a multi-segment record; such a record is never a part itself."""
    parts: set[Path] = set()
    wholes: set[Path] = set()
    for path in headers:
        try:
            segments = read_header(path).segments
        except InputError:
            continue  # told when the record itself is read
        if segments:
            wholes.add(path)
            parts.update(path.with_name(f"{part.name}.hea") for part in segments if part.name != GAP)
    return [path for path in headers if path not in parts - wholes]


def _read_file(
    path: Path, root: Path, fs: float | None, leads: Sequence[str] | None, unit: str | float | None
) -> list[Recording]:
    regular_size(path)
    id = path.relative_to(root).with_suffix("").as_posix()
    source = root.resolve().name
    match path.suffix.lower():
        case ".hea":
            return [with_origin(read_wfdb(path, id, source, unit))]
        case ".npz" | ".npy":
            return read_npz(path, fs, leads, unit, source)
        case ".csv" | ".parquet":
            return [read_table(path, id, fs, leads, unit, source)]
        case ".dcm":
            return [read_dicom(path, id, source, unit)]
        case ".scp":
            return [read_scp(path, id, source, unit)]
        case ".xml":
            return [read_xml(path, id, source, unit)]
    raise InputError(f"{path}: files ending in '{path.suffix}' are not read; known are {', '.join(SUFFIXES)}")
