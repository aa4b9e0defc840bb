"""Summarise a data set of videos and its problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.modality import single
from anyjepa.data.readers import endings_of
from anyjepa.data.summary import by_part, spread
from anyjepa.data.video.files import SUFFIXES, Decoding
from anyjepa.data.video.reading import read_files, read_npz

WHOLE = Decoding("rgb", short_side=2**16, when="lazily")
OWN = tuple(suffix for suffix in SUFFIXES if suffix not in (".ts", ".gif"))  # endings of videos only


def recognise(path: Path) -> bool:
    """Whether a path is a video file, or a folder with such files."""
    files = path.rglob("*") if path.is_dir() else [path]
    endings = endings_of("video", OWN)  # once: it looks at every installed package
    return any(file.name.lower().endswith(endings) for file in files)


def inspect(paths: Sequence[Path]) -> dict[str, Any]:
    """Decode every video of a set and describe it; files that cannot be read are listed as skipped.

    JSON-able: records (count), ids, source, split, sizes ('WIDTHxHEIGHT', counts), frames (shortest, median and longest
    video), classes (counts by part), problems, skipped.
    """
    path = Path(single(paths, "set of videos"))
    videos = read_npz(path) if path.suffix.lower() == ".npz" else read_files(path, "skip", WHOLE)
    split = videos.split or ("all",) * len(videos.ids)
    shapes = [videos.videos.read(number, np.array([0])).shape for number in range(len(videos.ids))]
    labels: list[str | None] = [None] * len(videos.ids)
    if table := videos.tables.get("class"):
        labels = [table.classes[place] for place in table.values.argmax(1)]
    still = int((videos.videos.lengths == 1).sum())
    return {
        "records": len(videos.ids),
        "ids": list(videos.ids),
        "source": videos.name,
        "split": dict(Counter(split)),
        "sizes": dict(Counter(f"{shape[2]}x{shape[1]}" for shape in shapes).most_common()),
        "frames": spread(videos.videos.lengths),
        "classes": by_part(labels, split),
        "problems": [f"{still} videos have a single frame"] if still else [],
        "skipped": videos.skipped,
    }
