"""Series from `.npz` files and from `.csv` files with a column a channel."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.array_likes import as_ids, as_names
from anyjepa.data.files import regular_size
from anyjepa.data.series.record import Series
from anyjepa.errors import InputError

NPZ_KEYS = ("series", "ids", "labels", "groups", "split")
RECORD_BYTES = 1000  # of a series in memory, besides its values


def read_npz(path: Path) -> list[Series]:
    """series: (N, C, T) or (C, T) numbers, NaN for missing ones; ids, labels, groups, split: N names, if known.

    Names are texts or numbers (1.0 is '1'); an empty label, group or split is unknown.

    Pickled objects are refused. InputError for what does not fit.
    """
    stored = read_arrays(path, NPZ_KEYS, value_bytes=8, row_bytes=RECORD_BYTES)
    if "series" not in stored:
        raise InputError(f"{path}: key 'series' is missing; it holds the values (series, channels, samples)")
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
        Series(f"{path.stem}/{id}", row, label, group, split, source=path.stem, file=f"{path}: series '{id}'")
        for id, row, (label, group, split) in zip(ids, values, rest, strict=True)
    ]


def read_csv(path: Path) -> list[Series]:
    """One series: a line of channel names, then a line a sample; an empty cell is a missing value."""
    if not regular_size(path):
        raise InputError(f"{path}: is an empty file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = csv.reader(file)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(names):
                raise InputError(f"{path}: row {number} has {len(row)} cells, the header {len(names)}")
        values = [[float(cell) if cell.strip() else float("nan") for cell in row] for row in rows]
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of numbers ({error})") from None
    return [
        Series(path.stem, np.array(values, float).reshape(-1, len(names)).T, source=path.parent.name, file=str(path))
    ]
