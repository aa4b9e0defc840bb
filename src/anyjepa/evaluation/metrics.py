"""Metrics of probabilities (N, C) against labels (N, C), each for every bootstrap resample at once.

weights: (R, G), how often each group is in each of R resamples. group: (N,), the index of the group of each record,
from 0 to G - 1. A single group with weight 1 gives the metric itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from anyjepa.evaluation.calibration import brier, calibration_error, counted

BLOCK = 2**17  # weights (1 MB) that are processed together: they stay in the cache (docs/benchmarks.md, "Speed")


@dataclass(frozen=True)
class Scored:
    """Labels, scores and decisions of one test part."""

    values: np.ndarray  # (N, C) in {0, 1}
    scores: np.ndarray  # (N, C) probabilities; only their order matters for metrics of ranking
    groups: np.ndarray  # (N,) patient of each record
    decided: np.ndarray  # (N, C) whether the class is predicted
    exclusive: bool = False

    def measure(self, weights: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Every metric by name: overall (R,), and per class (R, C).

        Overall metrics are accuracies and macro means over the classes with a defined value ('macro_auroc' of 'auroc').
        weights: (R, G) for the groups in sorted order; None: every record once.
        """
        if weights is None:
            weights, group = once(len(self.values))
        else:
            group = np.unique(self.groups, return_inverse=True)[1]
        ranks, precisions = areas(self.values, self.scores, weights, group)
        classes = {
            "auroc": ranks,
            "auprc": precisions,
            "f1": f1(self.values, self.decided, weights, group),
            "ece": calibration_error(self.values, self.scores, weights, group),
            "brier": brier(self.values, self.scores, weights, group),
        }
        overall = {f"macro_{name}": macro(metric) for name, metric in classes.items()}
        if self.exclusive:
            right = self.scores.argmax(1) == self.values.argmax(1)
            hits, records = (counted(weights, group, x[:, None])[:, 0] for x in (right, np.ones(len(right))))
            of_class, sizes = (counted(weights, group, x) for x in (right[:, None] * self.values, self.values))
            with np.errstate(invalid="ignore"):  # a resample can be without any of these records, or without a class
                overall["accuracy"], overall["balanced_accuracy"] = hits / records, macro(of_class / sizes)
        return overall, classes


def auroc(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, (C,); ties count half.

    This is the share of (positive, negative) pairs in the right order (Mann-Whitney). NaN for a class without positives
    or without negatives.
    """
    return areas(values, scores, *once(len(values)))[0][0]


def once(records: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (1, 1) and groups (N,) that count every record once."""
    return np.ones((1, 1)), np.zeros(records, int)


def areas(
    values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and AUPRC of each class, both (R, C); NaN for a resample without positives (AUROC: or without negatives).

    AUPRC is the average precision: the sum over thresholds of precision times the increase in recall.
    """
    areas = [_areas(values[:, c], scores[:, c], weights, group) for c in range(values.shape[1])]
    ranks, precisions = zip(*areas, strict=True)
    return np.stack(ranks, axis=1), np.stack(precisions, axis=1)


def _areas(
    value: np.ndarray, score: np.ndarray, weights: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (R,) of one class, from the counts at or above each distinct score of a positive."""
    order = np.argsort(-score, kind="stable")
    ranked, true, member = score[order], value[order] > 0, group[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    held = np.logical_or.reduceat(true, ties)
    start, end = ties[held], np.r_[ties[1:], len(order)][held]  # (K,) ranks
    positives = np.cumsum(true)[end - 1]  # (K,) at or above
    blocks = np.array_split(weights, -(-weights.shape[0] * len(order) // BLOCK))
    areas = [_of_ranked(block[:, member], true, start, end, positives) for block in blocks]
    ranks, precisions = zip(*areas, strict=True)
    return np.concatenate(ranks), np.concatenate(precisions)


def _of_ranked(
    counts: np.ndarray, true: np.ndarray, start: np.ndarray, end: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Areas of the resamples from the counts of records (R, N), in descending order of score."""
    hits = _before(counts[:, true])[:, np.r_[0, positives]]  # (R, K + 1)
    step = np.diff(hits, axis=1)  # (R, K) positives at each score
    above = _before(counts)
    total, everything = hits[:, -1], above[:, -1]
    worse = above[:, start] + above[:, end] - hits[:, :-1] - hits[:, 1:]  # (R, K) twice the negatives above, ties half
    pairs = total * (everything - total)
    with np.errstate(invalid="ignore"):
        precision = hits[:, 1:] / np.maximum(above[:, end], np.finfo(float).tiny)
        return (pairs - (step * worse).sum(1) / 2) / pairs, (step * precision).sum(1) / total


def _before(counts: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., N columns, (R, N + 1)."""
    sums = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums


def f1(values: np.ndarray, decided: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """F1 score of the decisions for each class, (R, C); NaN for a resample without positives."""
    both, positives, predicted = (counted(weights, group, x) for x in (values * decided, values, decided))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(positives > 0, 2 * both / (positives + predicted), np.nan)


def macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that are not NaN; NaN if all are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(per_class, axis=-1))
