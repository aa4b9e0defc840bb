"""Read series from `.npz` files, and from `.csv` files with one column per channel."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from anyjepa.data.array_files import read_arrays
from anyjepa.data.array_likes import as_ids, as_names
from anyjepa.data.class_folders import Part, part_of
from anyjepa.data.listing import set_name
from anyjepa.data.series.record import Series
from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError

NPZ_KEYS = ("series", "ids", "labels", "groups", "split")
RECORD_BYTES = 1000  # memory of a series in addition to its values


def read_npz(path: Path) -> list[Series]:
    """Read the keys series, (N, C, T) or (C, T) numbers with NaN for missing values, and ids, labels, groups, split.

    All keys but series are optional, with N names each: texts or numbers (1.0 is '1'), where an empty one is unknown.
    Raises InputError if arrays do not match, and for pickled objects.
    """
    stored = read_arrays(path, NPZ_KEYS, value_bytes=8, row_bytes=RECORD_BYTES)
    if "series" not in stored:
        raise InputError(f"{path}: key 'series' is missing; it contains the values (series, channels, samples)")
    values = stored["series"][None] if stored["series"].ndim == 2 else stored["series"]
    if values.ndim != 3 or not len(values):
        raise InputError(f"{path}: series of shape {values.shape} must be (series, channels, samples)")
    count = len(values)
    ids = as_ids(stored["ids"], count, f"{path}: ids") if "ids" in stored else list(map(str, range(count)))
    rest = zip(
        *(
            as_names(stored[key], count, f"{path}: {key}") if key in stored else [None] * count
            for key in ("labels", "groups", "split")
        ),
        strict=True,
    )
    return [
        Series(
            f"{path.stem}/{id}",
            row,
            label,
            group,
            _part(split, f"{path}: series '{id}'"),
            source=set_name(path.with_suffix("")),
            file=f"{path}: series '{id}'",
        )
        for id, row, (label, group, split) in zip(ids, values, rest, strict=True)
    ]


def _part(split: str | None, where: str) -> Part | None:
    """Raise InputError for an unknown split, whose series would not be in any part."""
    if split is None or (part := part_of(split)):
        return None if split is None else part
    raise InputError(f"{where}: split is '{split}'; it must be {', '.join(get_args(Part))} or empty")


def read_csv(path: Path) -> list[Series]:
    """Read one series: a header of channel names, and one row per sample. Empty cells are missing values."""
    table = open_table(path).read_all()
    return [Series(path.stem, table.numbers(list(table.columns)), source=set_name(path.parent), file=str(path))]
