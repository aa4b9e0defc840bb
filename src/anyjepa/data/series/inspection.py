"""Summarise a data set of series and its problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.readers import endings_of
from anyjepa.data.series.reading import read
from anyjepa.data.summary import by_part, spread


def recognise(path: Path) -> bool:
    """Whether a path is a .ts file of series, one that a reader of the user reads, or a folder with such files.

    Videos also end in .ts.
    """
    files, own = path.rglob("*") if path.is_dir() else [path], endings_of("series", ())
    return any(
        file.is_file() and (name.endswith(own) or not _video(file))
        for file in files
        if (name := file.name.lower()).endswith((*own, ".ts"))
    )


def inspect(paths: Sequence[Path]) -> dict[str, Any]:
    """Read every series and describe it; files that cannot be read are listed as skipped.

    JSON-able: records (count), ids, source, split, channels (counts), samples (shortest, median and longest series),
    groups (count, None if unknown), classes (counts by part), problems, skipped.
    """
    series, skipped = read(paths, on_error="skip")
    split = [one.split or "all" for one in series]
    gaps = sum(bool(np.isnan(one.values).any()) for one in series)
    constant = sum(bool((np.ptp(np.nan_to_num(one.values), axis=1) == 0).any()) for one in series)
    groups = {one.group for one in series}
    problems = [f"{gaps} series have missing values"] if gaps else []
    problems += [f"{constant} series have a channel that never changes"] if constant else []
    return {
        "records": len(series),
        "ids": [one.id for one in series],
        "source": ", ".join(sorted({one.source for one in series})),
        "split": dict(Counter(split)),
        "channels": {str(count): number for count, number in Counter(len(one.values) for one in series).most_common()},
        "samples": spread([one.values.shape[1] for one in series]),
        "groups": None if None in groups else len(groups),
        "classes": by_part([one.label for one in series], split),
        "problems": problems,
        "skipped": skipped,
    }


def _video(file: Path) -> bool:
    """Whether a file is an MPEG transport stream, whose packets of 188 bytes begin with 'G'."""
    with file.open("rb") as stream:
        start = stream.read(189)
    return start[:1] == start[188:] == b"G"
