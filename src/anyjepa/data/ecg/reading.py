"""Read ECGs from files and folders: WFDB, NumPy, CSV, Parquet, DICOM, SCP-ECG, GE MUSE and HL7 aECG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyjepa.data.ecg.arrays import read_npz
from anyjepa.data.ecg.checks import Problem, check, warn_about
from anyjepa.data.ecg.dicom_files import read_dicom
from anyjepa.data.ecg.preprocessing import OnError
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.tables import read_table
from anyjepa.data.ecg.vendor_files import read_scp, read_xml
from anyjepa.data.ecg.wfdb_files import read_header, read_wfdb
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError

SUFFIXES = (".hea", ".npz", ".npy", ".csv", ".parquet", ".dcm", ".scp", ".xml")


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
    """All ECGs in files and folders, in mV.

    A folder is searched recursively for WFDB headers; only if it has none, for the other `SUFFIXES`. fs (Hz), leads and
    unit are for arrays and tables that do not say so themselves; for the others, unit is what one ADC unit is, instead
    of the file's gain and baseline (see `read_wfdb`). on_error: raise, or skip and list a file that cannot be read.
    warn: tell what `check` finds as one DataWarning a kind. InputError if nothing can be read.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    if "" in paths:
        raise InputError("a path is empty; give a file or a folder ('.' is this folder)")
    recordings: dict[str, Recording] = {}
    skipped: dict[str, str] = {}
    for path, root in (found for given in paths for found in _find(Path(given))):
        try:
            read_now = _read_file(path, root, fs, leads, unit)
        except InputError as error:
            if on_error == "raise":
                raise
            skipped[str(path)] = str(error)
            continue
        for recording in read_now:
            if (other := recordings.setdefault(recording.id, recording)) is not recording:
                raise InputError(
                    f"{recording.where}: id '{recording.id}' is also that of {other.where}; read their common folder"
                )
    if not recordings:
        if not skipped:
            raise InputError("no ECG could be read: no path was given")
        files = f"{len(skipped)} file{'s' * (len(skipped) > 1)}"
        raise InputError(f"no ECG could be read ({files} skipped); the first: {next(iter(skipped.values()))}")
    problems = check(list(recordings.values()))
    if warn:
        warn_about(problems)
    return Reading(list(recordings.values()), skipped, problems)


def _find(path: Path) -> list[tuple[Path, Path]]:
    """(file, root that its id is relative to) for each record under `path`, in order."""
    if not os.path.isdir(path):  # unlike Path.is_dir it takes any name
        regular_size(path)
        return [(path, path.parent)]
    by_suffix: dict[str, list[Path]] = {suffix: [] for suffix in SUFFIXES}
    for folder, _, names in os.walk(path, onerror=_unreadable):
        for file in (Path(folder, name) for name in names):
            by_suffix.get(file.suffix.lower(), []).append(file)
    files = _without_segments(sorted(by_suffix[".hea"])) or sorted(
        file for files in by_suffix.values() for file in files
    )
    if not files:
        raise InputError(f"{path}: holds no ECG; files ending in {', '.join(SUFFIXES)} are read")
    return [(file, path) for file in files]


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
            parts.update(path.with_name(f"{name}.hea") for name in segments if name != "~")
    return [path for path in headers if path not in parts - wholes]


def _read_file(
    path: Path, root: Path, fs: float | None, leads: Sequence[str] | None, unit: str | float | None
) -> list[Recording]:
    id = path.relative_to(root).with_suffix("").as_posix()
    source = root.resolve().name
    match path.suffix.lower():
        case ".hea":
            return [read_wfdb(path, id, source, unit)]
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
