"""Read ECGs from files and folders.

Published data sets in their layouts; WFDB, NumPy, CSV, Parquet, DICOM, SCP-ECG, GE MUSE and HL7 aECG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from anyjepa.data.class_folders import Part, nothing_to_read, split_folders
from anyjepa.data.dataset import OnError
from anyjepa.data.ecg.arrays import read_npz
from anyjepa.data.ecg.checks import Problem, check, warn_about
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets import code15, mimic, mitbih, ptb, ptbxl, st_petersburg
from anyjepa.data.ecg.sets.challenge import with_origin
from anyjepa.data.ecg.sets.layout import Entry, Layout
from anyjepa.data.ecg.stores import store
from anyjepa.data.ecg.tables import read_table
from anyjepa.data.ecg.vendors.dicom import read_dicom
from anyjepa.data.ecg.vendors.scp_xml import read_scp, read_xml
from anyjepa.data.ecg.wfdb.header import GAP, Header, read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.data.files import regular_size
from anyjepa.data.listing import Listing, list_folder, set_name, tell
from anyjepa.data.mounts import is_folder
from anyjepa.data.readers import endings_of, not_read, read_own
from anyjepa.errors import InputError, one_line

SUFFIXES = (".hea", ".npz", ".npy", ".csv", ".parquet", ".dcm", ".scp", ".xml")
LAYOUTS: tuple[Layout, ...] = (store, ptbxl, mimic, code15, mitbih, ptb, st_petersburg)


class Identified(Protocol):
    """A recording, or anything that was made from one, with its id."""

    @property
    def id(self) -> str: ...
    @property
    def where(self) -> str: ...


T = TypeVar("T", bound=Identified)
Outcome = tuple[str, "list[T] | InputError"]  # where it was read, and the results or the error


@dataclass(frozen=True)
class Reading:
    """Result of reading: recordings with distinct ids, skipped files with reasons, and problems of the recordings."""

    recordings: list[Recording]
    skipped: dict[str, str]
    problems: list[Problem]
    remarks: list[str]  # remarks about the folders


def read(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    warn: bool = True,
) -> Reading:
    """Read all ECGs in files and folders (see `find`) into memory; `iterate` yields them one at a time.

    warn: issue the findings of `check` (one DataWarning per kind) and the remarks. Raises InputError.
    """
    skipped, remarks = dict[str, str](), list[str]()
    recordings = list(
        iterate(paths, fs=fs, leads=leads, unit=unit, on_error=on_error, skipped=skipped, remarks=remarks)
    )
    if not recordings:
        raise nothing_read(skipped)
    problems = check(recordings)
    if warn:
        warn_about(problems)
        tell(remarks, None)
    return Reading(recordings, skipped, problems, remarks)


def nothing_read(skipped: Mapping[str, str]) -> InputError:
    """Error for paths without a readable record. skipped: file -> reason."""
    if not skipped:
        return InputError("no ECG could be read: there are no paths")
    files = f"{len(skipped)} file{'s' * (len(skipped) > 1)}"
    return InputError(f"no ECG could be read ({files} skipped); the first: {next(iter(skipped.values()))}")


def iterate(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    skipped: dict[str, str] | None = None,
    remarks: list[str] | None = None,
) -> Iterator[Recording]:
    """Yield the ECGs in files and folders, in mV, each read when it is requested; see `find` for the options.

    on_error: raise, or skip unreadable records and add them with the reason to `skipped`. remarks: see `find`.
    Also raises InputError for an id that occurs twice.
    """
    entries = find(paths, fs=fs, leads=leads, unit=unit, remarks=remarks)
    outcomes = (outcome(entry, lambda recording: recording) for entry in entries)
    return distinct(outcomes, on_error, {} if skipped is None else skipped)


def outcome(entry: Entry, then: Callable[[Recording], T]) -> Outcome[T]:
    """Read an entry and apply `then` to its recordings; returns the error if that fails. Can run in another process."""
    try:
        return entry.where, [then(recording) for recording in entry.read()]
    except InputError as error:
        return entry.where, error


def distinct(outcomes: Iterable[Outcome[T]], on_error: OnError, skipped: dict[str, str]) -> Iterator[T]:
    """Yield what was read. Errors are raised or, with on_error 'skip', added to `skipped`.

    Also raises InputError for an id that occurs twice.
    """
    seen: dict[str, str] = {}
    for where, results in outcomes:
        if isinstance(results, InputError):
            if on_error == "raise":
                raise results
            skipped[where] = str(results)
            continue
        for one in results:
            if one.id in seen:
                raise InputError(f"{one.where}: id '{one.id}' is also that of {seen[one.id]}; read their common folder")
            seen[one.id] = one.where
            yield one


def find(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    remarks: list[str] | None = None,
) -> Iterator[Entry]:
    """List the records in files and folders in a fixed order, without reading them.

    A folder is searched recursively for data sets in one of the `LAYOUTS` and for WFDB headers; only if it has neither,
    for the other `SUFFIXES`. Subfolders may be the parts of a split (`split_folders`). remarks: a list that collects
    what is not read (`list_folder`); if None, DataWarnings are issued.

    fs (Hz), leads and unit apply to arrays and tables that do not state them; for other files, unit is the size of an
    ADC unit and replaces the file's gain and baseline (see `read_wfdb`).
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    if "" in paths:
        raise InputError("a path is empty; give a file or a folder ('.' is this folder)")
    read_one = partial(_read_file, fs=fs, leads=leads, unit=unit)
    for path in map(Path, paths):
        if is_folder(path):
            for entry in _find_in(path, read_one, unit, remarks):
                yield entry._replace(where=one_line(entry.where))
        else:
            regular_size(path)
            yield Entry(str(path), partial(read_one, path, path.parent), (path,))


def _find_in(
    root: Path,
    read_one: Callable[..., list[Recording]],
    unit: str | float | None,
    remarks: list[str] | None,
) -> Iterator[Entry]:
    data_sets: list[tuple[Layout, Path]] = []

    def claimed(folder: Path) -> bool:
        layout = next((layout for layout in LAYOUTS if layout.recognise(folder)), None)
        if layout:
            data_sets.append((layout, folder))
        return layout is not None

    endings = endings_of("ecg", SUFFIXES)
    listing = list_folder(root, endings, claimed=claimed)
    headers = [file for file in listing.files if file.suffix.lower() == ".hea"]
    parsed: dict[Path, Header] = {}
    if headers or data_sets:
        listing = _records(listing, headers, parsed)
    elif not listing.files:
        raise InputError(nothing_to_read(listing, "ECG", endings))
    tell(listing.remarks(), remarks)
    parts = split_folders(root, listing.files)
    for layout, folder in data_sets:
        yield from layout.entries(folder, unit)
    for file in listing.files:
        part = parts[file.relative_to(root).parts[0]] if parts else None
        read_file = partial(_in_part, partial(read_one, header=parsed.pop(file, None)), file, root, part)
        yield Entry(str(file), read_file, (file,), f"{root} {part or ''}")


def _in_part(read_one: Callable[..., list[Recording]], file: Path, root: Path, part: Part | None) -> list[Recording]:
    return [replace(recording, split=recording.split or part) for recording in read_one(file, root)]


def _records(listing: Listing, headers: list[Path], parsed: dict[Path, Header]) -> Listing:
    """Headers that are not segments of a multi-segment record; such a record is never a segment itself.

    Files that a header names, and other files with the name of a header (annotations), belong to it; a table with the
    name of its folder describes the records (`ludb/ludb.csv`). parsed: gets the content of every header that can be
    read, so that it is parsed once.
    """
    parts: set[Path] = set()
    wholes: set[Path] = set()
    belonging: set[Path] = set()
    for path in headers:
        try:
            header = parsed[path] = read_header(path)
        except InputError:
            continue  # reported when the record itself is read
        belonging.update(path.parent / name for name in {signal.file for signal in header.signals})
        if header.segments:
            wholes.add(path)
            parts.update(path.with_name(f"{part.name}.hea") for part in header.segments if part.name != GAP)
    stems = {path.with_suffix("") for path in headers}
    belonging.update(path for path in listing.others if path.with_suffix("") in stems)
    belonging.update(path for path in listing.files if path.suffix == ".csv" and path.stem == path.parent.name)
    return listing.only([path for path in headers if path not in parts - wholes], belonging | (parts - wholes))


def _read_file(
    path: Path,
    root: Path,
    fs: float | None,
    leads: Sequence[str] | None,
    unit: str | float | None,
    header: Header | None = None,
) -> list[Recording]:
    id = path.relative_to(root).with_suffix("").as_posix()
    source = set_name(root)
    if (own := read_own("ecg", path, SUFFIXES, _as_recordings)) is not None:
        return [replace(r, id=r.id or id, source=r.source or source, file=r.file or str(path)) for r in own]
    match path.suffix.lower():
        case ".hea":
            return [with_origin(read_wfdb(path, id, source, unit, header))]
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
    raise InputError(not_read(path, SUFFIXES))


def _as_recordings(own: Any) -> list[Recording]:
    recordings = own if isinstance(own, list) else [own]
    if not recordings or not all(isinstance(recording, Recording) for recording in recordings):
        raise InputError("it must return a Recording or a list of them")
    return recordings
