"""Find and read series: files, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from anyjepa.data.series.arrays import read_csv, read_npz
from anyjepa.data.series.record import Series
from anyjepa.data.series.ts_files import read_ts
from anyjepa.errors import InputError

READERS = {".ts": read_ts, ".npz": read_npz, ".csv": read_csv}


def read(paths: Sequence[Path], on_error: Literal["raise", "skip"] = "raise") -> tuple[list[Series], dict[str, str]]:
    """The series of files and folders (searched recursively, in the order of names), and files left out: why.

    Ids of a folder's files begin with their path in it. InputError for an id that occurs twice, or if nothing is read.
    """
    series: dict[str, Series] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        for file, prefix in _files(path):
            try:
                found = READERS[file.suffix.lower()](file)
            except InputError as error:
                if on_error == "raise":
                    raise
                skipped[str(file)] = str(error)
                continue
            for one in found:
                named = replace(one, id=prefix + one.id)
                if named.id in series:
                    raise InputError(f"{one.where}: id '{named.id}' is also that of {series[named.id].where}")
                series[named.id] = named
    if not series:
        raise InputError(f"no series could be read; the first: {next(iter(skipped.values()), 'no path was given')}")
    return list(series.values()), skipped


def _files(path: Path) -> list[tuple[Path, str]]:
    """Files to read, and what their series' ids begin with."""
    known = ", ".join(READERS)
    if not path.is_dir():
        if path.suffix.lower() not in READERS:
            raise InputError(f"{path}: files ending in '{path.suffix}' are not read; known are {known}")
        return [(path, "")]
    try:
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in READERS)
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be read ({error.strerror})") from error
    if not found:
        raise InputError(f"{path}: holds no series; files ending in {known} are read")
    return [(file, f"{file.parent.relative_to(path)}/" if file.parent != path else "") for file in found]
