"""Onsets and offsets of waves in a sequence of classes, compared with annotated ones.

The field counts an onset as detected if one is predicted at most 150 ms away (ANSI/AAMI EC57; Martinez et al. 2004).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

TOLERANCE_S = 0.15


class Comparison(NamedTuple):
    """Errors of the matched points (predicted minus annotated, s), and the points that have no match."""

    errors: np.ndarray
    missed: int
    false: int


def spans(labels: np.ndarray, label: int, shortest: int = 1) -> np.ndarray:
    """Runs of a class, (n, 2) first places and ends, without gaps and then runs of fewer than `shortest` places."""
    edges = np.flatnonzero(np.diff(np.r_[False, labels == label, False]))
    starts, ends = edges[::2], edges[1::2]
    apart = starts[1:] - ends[:-1] >= shortest
    starts, ends = starts[np.r_[True, apart][: len(starts)]], ends[np.r_[apart, True][: len(ends)]]
    return np.stack([starts, ends], 1)[ends - starts >= shortest]


def compare(true: np.ndarray, predicted: np.ndarray, annotated: np.ndarray) -> Comparison:
    """Match points (n,) and (m,) in s one to one, the nearest pairs first, at most `TOLERANCE_S` apart.

    annotated: (m,) whether anything is known where a point is predicted; elsewhere it is not false.
    """
    distance = np.abs(true[:, None] - predicted[None])
    pairs: dict[int, int] = {}
    for place in np.argsort(distance, axis=None, kind="stable"):
        row, column = divmod(int(place), len(predicted))
        if distance[row, column] > TOLERANCE_S + 1e-9:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    rows, columns = np.array(list(pairs), int), np.array(list(pairs.values()), int)
    return Comparison(predicted[columns] - true[rows], len(true) - len(pairs), int(np.delete(annotated, columns).sum()))


def scores(comparisons: Iterable[Comparison]) -> dict[str, float]:
    """Mean and standard deviation of the errors in ms, sensitivity, and positive predictive value; NaN for 0 / 0."""
    compared = list(comparisons)
    errors = np.concatenate([np.empty(0), *(one.errors for one in compared)]) * 1e3
    hits, missed, false = len(errors), sum(one.missed for one in compared), sum(one.false for one in compared)
    return {
        "error_ms": float(errors.mean()) if hits else np.nan,
        "sd_ms": float(errors.std()) if hits else np.nan,
        "sensitivity": hits / (hits + missed) if hits + missed else np.nan,
        "ppv": hits / (hits + false) if hits + false else np.nan,
    }
