"""Do probabilities mean what they say? Expected calibration error, Brier score and the reliability curve."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import NonNegativeInt

from anyjepa.config import Config, Share

BINS = 15  # equal widths over [0, 1] (Guo et al. 2017)


class Reliability(Config):
    """Forecasts in `BINS` bins of equal width: how many, their mean, and how often the class was true.

    None for a bin without forecasts.
    """

    counts: tuple[NonNegativeInt, ...]
    forecast: tuple[Share | None, ...]
    observed: tuple[Share | None, ...]


def reliability(values: np.ndarray, scores: np.ndarray) -> Reliability:
    """The curve of probabilities against labels in {0, 1}; arrays of one shape, all their entries pooled."""
    value, score = values.ravel().astype(float), scores.ravel().astype(float)
    place = bins(score)
    counts = np.bincount(place, minlength=BINS)
    forecast, observed = (np.bincount(place, x, BINS) / counts.clip(1) for x in (score, value))
    return Reliability(
        counts=tuple(counts.tolist()), forecast=_known(forecast, counts), observed=_known(observed, counts)
    )


def calibration_error(values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(R, C) ECE of each class against the rest: |how often it is true - mean forecast|, over bins by their forecasts.

    values, scores: (N, C); weights, group: see `metrics`. For exclusive classes this is the classwise ECE (Nixon et
    al. 2019).
    """
    total = counted(weights, group, np.ones((len(group), 1)))[:, 0]
    errors = []
    for value, score in zip(values.T, scores.T, strict=True):
        gap = np.zeros((len(score), BINS))
        gap[np.arange(len(score)), bins(score)] = value - score
        with np.errstate(invalid="ignore"):  # a resample may hold none of these records
            errors.append(np.abs(counted(weights, group, gap)).sum(1) / total)
    return np.stack(errors, axis=1)


def brier(values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(R, C) mean squared difference of probability and label of each class (Brier 1950, who adds the classes)."""
    squares, total = (values.astype(float) - scores) ** 2, np.ones((len(group), 1))
    with np.errstate(invalid="ignore"):  # a resample may hold none of these records
        return counted(weights, group, squares) / counted(weights, group, total)


def counted(weights: np.ndarray, group: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(R, S) sums of columns (N, S) over the records, each as often as its group counts; see `metrics`."""
    sums = [np.bincount(group, column, minlength=weights.shape[1]) for column in columns.T]  # (S, G)
    return weights @ np.stack(sums, axis=1)


def bins(score: np.ndarray) -> np.ndarray:
    """The bin of each probability; a probability on an edge belongs to the bin above, 1 to the last."""
    return np.clip((np.asarray(score, float) * BINS).astype(int), 0, BINS - 1)


def _known(means: np.ndarray, counts: np.ndarray) -> tuple[float | None, ...]:
    pairs: Iterable[tuple[float, int]] = zip(means.clip(0, 1).tolist(), counts.tolist(), strict=True)
    return tuple(mean if count else None for mean, count in pairs)
