"""Calibration of probabilities: expected calibration error, Brier score and the reliability curve."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import NonNegativeInt

from anyjepa.config import Config, Share

BINS = 15  # equal widths over [0, 1] (Guo et al. 2017)


class Reliability(Config):
    """Predicted probabilities in `BINS` bins of equal width: their number, their mean, and the frequency of the class.

    None for an empty bin.
    """

    counts: tuple[NonNegativeInt, ...]
    forecast: tuple[Share | None, ...]
    observed: tuple[Share | None, ...]


def reliability(values: np.ndarray, scores: np.ndarray) -> Reliability:
    """Reliability curve of probabilities and labels in {0, 1}: arrays of the same shape whose entries are pooled."""
    value, score = values.ravel().astype(float), scores.ravel().astype(float)
    place = bins(score)
    counts = np.bincount(place, minlength=BINS)
    forecast, observed = (np.bincount(place, x, BINS) / counts.clip(1) for x in (score, value))
    return Reliability(
        counts=tuple(counts.tolist()), forecast=_or_none(forecast, counts), observed=_or_none(observed, counts)
    )


def calibration_error(values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Expected calibration error of each class against the rest, (R, C).

    It is the mean over bins, weighted by their size, of |frequency of the class - mean probability|. For exclusive
    classes this is the classwise ECE (Nixon et al. 2019). values, scores: (N, C). weights, group: see `metrics`.
    """
    total = counted(weights, group, np.ones((len(group), 1)))[:, 0]
    errors = []
    for value, score in zip(values.T, scores.T, strict=True):
        gap = np.zeros((len(score), BINS))
        gap[np.arange(len(score)), bins(score)] = value - score
        with np.errstate(invalid="ignore"):  # a resample can be without any of these records
            errors.append(np.abs(counted(weights, group, gap)).sum(1) / total)
    return np.stack(errors, axis=1)


def brier(values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean squared difference of probability and label of each class, (R, C). Brier (1950) sums it over classes."""
    squares, total = (values.astype(float) - scores) ** 2, np.ones((len(group), 1))
    with np.errstate(invalid="ignore"):  # a resample can be without any of these records
        return counted(weights, group, squares) / counted(weights, group, total)


def counted(weights: np.ndarray, group: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sums (R, S) of columns (N, S) over the records, weighted by the count of their group; see `metrics`."""
    sums = [np.bincount(group, column, minlength=weights.shape[1]) for column in columns.T]  # (S, G)
    return weights @ np.stack(sums, axis=1)


def bins(score: np.ndarray) -> np.ndarray:
    """Bin of each probability. A probability on an edge belongs to the bin above, and 1 belongs to the last bin."""
    return np.clip((np.asarray(score, float) * BINS).astype(int), 0, BINS - 1)


def _or_none(means: np.ndarray, counts: np.ndarray) -> tuple[float | None, ...]:
    pairs: Iterable[tuple[float, int]] = zip(means.clip(0, 1).tolist(), counts.tolist(), strict=True)
    return tuple(mean if count else None for mean, count in pairs)
