"""Nearest neighbours of some test records as rows of small pictures, and where the encoder looks in images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyjepa.errors import reason
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import draw
from anyjepa.report.markup import Html, figure, note
from anyjepa.report.mosaic import Cell, heat, mosaic

_DRAWN = {
    "video": "Of each its middle frame; of a grey one the first in red, the middle in green, the last in blue.",
    "series": "Of each all of it, its channels one below the other.",
}
_MOST = 12  # rows and columns drawn


def neighbours(run: Contents) -> Html:
    """A row a record, its nearest neighbours beside it; nothing where there is no `artifacts/neighbours.npz`.

    It holds records (Q, 1 + K, ...), the query first, as images (H, W, C) uint8 or series (C, points);
    labels (Q, 1 + K); similarity (Q, K); among, in words; kind.
    """
    return _drawn(run, _neighbours)


def attention(run: Contents) -> Html:
    """The same file's attention (Q, rows, columns) to the patches of the queries. Nothing where there is none."""
    return _drawn(run, _attention) if run.neighbours and "attention" in run.neighbours else Html()


def _drawn(run: Contents, section: Callable[[dict[str, np.ndarray]], Html]) -> Html:
    if run.neighbours is None:
        return Html()
    try:
        return section(run.neighbours)
    except Exception as error:  # arrays of someone else's can fail anywhere in NumPy or Matplotlib
        return note(f"Not drawn: artifacts/neighbours.npz does not fit: {reason(error)}")


def _neighbours(arrays: dict[str, np.ndarray]) -> Html:
    records, labels, similarity = (arrays[name][:_MOST, :_MOST] for name in ("records", "labels", "similarity"))
    rows = [
        [Cell(record, str(label)) for record, label in zip(one, names, strict=True)]
        for one, names in zip(records, labels, strict=True)
    ]
    same = int((labels[:, 1:] == labels[:, :1]).sum())
    text = (
        f"First in a row the one in question, then its nearest among {arrays['among']}, by the cosine of standardised "
        f"mean features: {similarity.min():.2f} to {similarity.max():.2f}. {same} of {labels[:, 1:].size} have the "
        f"class of their row. {_DRAWN.get(str(arrays['kind']), '')}"
    ).strip()
    return figure(draw(f"Nearest neighbours. {text}", lambda: mosaic(rows, side=112)), text)


def _attention(arrays: dict[str, np.ndarray]) -> Html:
    looked = np.asarray(arrays["attention"][:_MOST], float)
    relative = looked * looked[0].size
    images = [Cell(one[0], str(names[0])) for one, names in zip(arrays["records"], arrays["labels"], strict=True)]
    maps = [Cell(heat(one - one.min()), f"{one.min():.2f} to {one.max():.2f}") for one in relative]
    text = (
        "Above the image, below how much its patches are attended to: 1 is the share of a patch if all had the same; "
        "full colour is the larger number below, no colour the smaller."
    )
    return figure(draw(f"Attention. {text}", lambda: mosaic([images[: len(maps)], maps], side=112)), text)
