"""Nearest neighbours of some test records as small pictures, and attention maps of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyjepa.errors import reason
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import draw
from anyjepa.report.markup import Html, figure, note
from anyjepa.report.mosaic import Cell, heat, mosaic

_DRAWN = {
    "video": "A video is shown by its middle frame; a grey video by its first (red), middle (green) and last (blue).",
    "series": "A series is shown whole, one channel per row.",
}
_MOST = 12  # largest number of rows and of columns that are drawn


def neighbours(run: Contents) -> Html:
    """One row per record with its nearest neighbours; empty if there is no `artifacts/neighbours.npz`.

    The file contains records (Q, 1 + K, ...), where the query comes first, as images (H, W, C) uint8 or series
    (C, points); labels (Q, 1 + K); similarity (Q, K); among, the searched records in words; and kind.
    """
    return _drawn(run, _neighbours)


def attention(run: Contents) -> Html:
    """Maps of the attention (Q, rows, columns) to the patches of the queries; empty if the file has none."""
    return _drawn(run, _attention) if run.neighbours and "attention" in run.neighbours else Html()


def _drawn(run: Contents, section: Callable[[dict[str, np.ndarray]], Html]) -> Html:
    if run.neighbours is None:
        return Html()
    try:
        return section(run.neighbours)
    except Exception as error:  # arrays from other programs can fail anywhere in NumPy or Matplotlib
        return note(f"The contents of artifacts/neighbours.npz could not be drawn: {reason(error)}")


def _neighbours(arrays: dict[str, np.ndarray]) -> Html:
    records, labels, similarity = (arrays[name][:_MOST, :_MOST] for name in ("records", "labels", "similarity"))
    rows = [
        [Cell(record, str(label)) for record, label in zip(one, names, strict=True)]
        for one, names in zip(records, labels, strict=True)
    ]
    same = int((labels[:, 1:] == labels[:, :1]).sum())
    text = (
        f"Each row starts with the query, followed by its nearest neighbours among {arrays['among']}. Cosine "
        f"similarity of standardised mean features: {similarity.min():.2f} to {similarity.max():.2f}. "
        f"{same} of {labels[:, 1:].size} neighbours have the class of the query. {_DRAWN.get(str(arrays['kind']), '')}"
    ).strip()
    return figure(draw(f"Nearest neighbours. {text}", lambda: mosaic(rows, side=112)), text)


def _attention(arrays: dict[str, np.ndarray]) -> Html:
    weights = np.asarray(arrays["attention"][:_MOST], float)
    relative = weights * weights[0].size
    images = [Cell(one[0], str(names[0])) for one, names in zip(arrays["records"], arrays["labels"], strict=True)]
    maps = [Cell(heat(one - one.min()), f"{one.min():.2f} to {one.max():.2f}") for one in relative]
    text = (
        "Top: the image. Bottom: attention to its patches, relative to uniform attention (1). "
        "Full colour is the larger number above the map, no colour the smaller."
    )
    return figure(draw(f"Attention. {text}", lambda: mosaic([images[: len(maps)], maps], side=112)), text)
