"""Metrics of scores (N, C) against labels (N, C), and what can be said about them over repeats and patients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.randomness import generator


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats with its 95 % interval; None where there is no such number."""

    mean: float | None
    low: float | None
    high: float | None
    repeats: int


UNKNOWN = Estimate(None, None, None, 0)


@dataclass(frozen=True)
class Scored:
    """Scores of one test part: what a metric is computed from."""

    values: np.ndarray  # (N, C) in {0, 1}
    scores: np.ndarray  # (N, C), higher: more likely
    groups: np.ndarray  # (N,) patient of each record


def auroc(values: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve of each class, (C,) or (R, C) for weights (R, N); ties count half.

    The share of (positive, negative) pairs in the right order (Mann-Whitney). NaN for a class without positives or
    without negatives. weights: how often each record counts, for the bootstrap.
    """
    counted = np.ones((1, len(values))) if weights is None else weights  # (R, N)
    areas = [_area(values[:, c], scores[:, c], counted) for c in range(values.shape[1])]
    stacked = np.stack(areas, axis=1)  # (R, C)
    return stacked[0] if weights is None else stacked


def _area(value: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) areas of one class: for each distinct score, its positives times the negatives below."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    positive = np.add.reduceat(weights[:, order] * value[order], ties, axis=1)  # (R, distinct scores)
    negative = np.add.reduceat(weights[:, order] * (1 - value[order]), ties, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(invalid="ignore"):
        return (positive * below).sum(1) / (positive.sum(1) * negative.sum(1))


def auprc(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(C,) average precision: the sum over thresholds of precision times the step in recall. NaN without positives."""
    return np.array([_average_precision(values[:, c], scores[:, c]) for c in range(values.shape[1])])


def _average_precision(value: np.ndarray, score: np.ndarray) -> float:
    if value.sum() == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # last record of each distinct score
    hits = np.cumsum(value[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / value.sum())


def accuracy(values: np.ndarray, scores: np.ndarray) -> float:
    """Share of records whose highest score is at their class; for exclusive classes."""
    return float((scores.argmax(1) == values.argmax(1)).mean())


def balanced_accuracy(values: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the classes present of the share of their records found; for exclusive classes."""
    right = scores.argmax(1) == values.argmax(1)
    return float(np.mean([right[values[:, c] == 1].mean() for c in range(values.shape[1]) if values[:, c].any()]))


def all_metrics(values: np.ndarray, scores: np.ndarray, exclusive: bool) -> dict[str, float]:
    """Every metric of the task by name; macro means leave out the classes that have no number (NaN if none has)."""
    metrics = {"macro_auroc": float(macro(auroc(values, scores))), "macro_auprc": float(macro(auprc(values, scores)))}
    if exclusive:
        metrics |= {"accuracy": accuracy(values, scores), "balanced_accuracy": balanced_accuracy(values, scores)}
    return metrics


def macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that have a number; NaN if none has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(per_class, axis=-1))


def estimate(
    values: Sequence[float], overlap: float = 0.0, limits: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """Mean and 95 % t interval over repeats; NaN repeats are left out, fewer than two give no interval.

    overlap: test records for each training record, where repeats draw both from the same records (1 / (k - 1) in k
    folds). The variance of the mean is then s² (1 / n + overlap), for plain s² / n takes overlapping training sets for
    independent ones (Nadeau and Bengio 2003, section 3; Bouckaert and Frank 2004 for repeated folds).
    limits: what the metric can be; the interval is cut there.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return UNKNOWN
    mean = float(known.mean())
    if len(known) == 1:
        return Estimate(mean, None, None, 1)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) * np.sqrt(1 / len(known) + overlap))
    return Estimate(mean, max(mean - half, limits[0]), min(mean + half, limits[1]), len(known))


def paired_difference(a: Sequence[float], b: Sequence[float], overlap: float = 0.0) -> Estimate:
    """`estimate` of a - b, metrics in 0 to 1, over the same repeats: what repeats share (folds, seeds) cancels."""
    return estimate([x - y for x, y in zip(a, b, strict=True)], overlap, (-1, 1))


def bootstrap(tests: Sequence[Scored], resamples: int, seed: int = 0) -> np.ndarray:
    """(R,) macro AUROC, mean over `tests`, each time the groups (patients) are drawn anew; empty for a single group.

    A patient brings all records, in every test part at once. A class that a resample lacks is left out of that macro
    mean instead of drawing again, which would favour rare classes; NaN if it lacks all. The draws depend on the groups
    and the seed only, so for two scorings of the same test parts a - b resamples their difference, paired by patient.
    """
    names, groups = np.unique(np.concatenate([test.groups for test in tests]), return_inverse=True)
    if len(names) < 2:
        return np.empty(0)
    drawn = generator(seed, "bootstrap", 0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    ends = np.cumsum([len(test.groups) for test in tests])[:-1]
    areas = [
        macro(auroc(test.values, test.scores, weights=drawn[:, group].astype(float)))
        for test, group in zip(tests, np.split(groups, ends), strict=True)
    ]
    return macro(np.stack(areas, axis=1))


def percentiles(resampled: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of what `bootstrap` gives, or of the difference of two; None without a finite value."""
    known = resampled[np.isfinite(resampled)]
    return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if len(known) else None
