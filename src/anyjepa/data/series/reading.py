"""Find and read series: files, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from anyjepa import progress
from anyjepa.data.class_folders import Part, nothing_to_read, split_folders
from anyjepa.data.listing import list_folder, set_name, tell
from anyjepa.data.mounts import is_folder
from anyjepa.data.readers import endings_of, not_read, read_own
from anyjepa.data.series.arrays import read_csv, read_npz
from anyjepa.data.series.record import Series
from anyjepa.data.series.ts_files import read_ts
from anyjepa.errors import InputError, one_line

READERS = {".ts": read_ts, ".npz": read_npz, ".csv": read_csv}


def read(paths: Sequence[Path], on_error: Literal["raise", "skip"] = "raise") -> tuple[list[Series], dict[str, str]]:
    """Read the series of files and folders (searched recursively, sorted by name); also return skipped files and why.

    Ids of files in a folder begin with their relative path. Subfolders may be the parts of a split (`split_folders`).
    Raises InputError for an id that occurs twice, or if nothing is read.
    """
    series: dict[str, Series] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        for file, prefix, part in _files(path):
            progress.tell(f"read {len(series):,} series")
            try:
                series_of_file = _read_file(file)
            except InputError as error:
                if on_error == "raise":
                    raise
                skipped[one_line(str(file))] = str(error)
                continue
            for one in series_of_file:
                named = replace(one, id=prefix + one.id, split=one.split or part)
                if named.id in series:
                    raise InputError(f"{one.where}: id '{named.id}' is also that of {series[named.id].where}")
                series[named.id] = named
    if not series:
        raise InputError(f"no series could be read; the first: {next(iter(skipped.values()), 'there are no paths')}")
    return list(series.values()), skipped


def _files(path: Path) -> list[tuple[Path, str, Part | None]]:
    """Files to read, the prefix of their ids, and their part of the split."""
    endings = endings_of("series", list(READERS))
    if not is_folder(path):
        if not path.name.lower().endswith(endings):
            raise InputError(not_read(path, list(READERS)))
        return [(path, "", None)]
    listing = list_folder(path, endings)
    if not listing.files:
        raise InputError(nothing_to_read(listing, "series", endings))
    tell(listing.remarks(), None)
    parts = split_folders(path, listing.files)
    places = [file.parent.relative_to(path).parts for file in listing.files]
    return [
        (file, "".join(f"{folder}/" for folder in folders), parts[folders[0]] if parts else None)
        for file, folders in zip(listing.files, places, strict=True)
    ]


def _read_file(file: Path) -> list[Series]:
    own = read_own("series", file, list(READERS), partial(_as_series, file))
    return READERS[file.suffix.lower()](file) if own is None else own


def _as_series(file: Path, own: Any) -> list[Series]:
    series = own if isinstance(own, list) else [own]
    one = [file.stem] if len(series) == 1 else [f"{file.stem}/{number}" for number in range(len(series))]
    return [
        value if isinstance(value, Series) else Series(id, value, source=set_name(file.with_suffix("")), file=str(file))
        for id, value in zip(one, series, strict=True)
    ]
