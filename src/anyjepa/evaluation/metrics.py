"""Metrics of probabilities (N, C) against labels (N, C), each for every bootstrap resample at once.

weights: (R, G), how often each group's records count in each of R resamples; group: (N,) the group of each record, as
a place in 0 to G - 1. One group that counts once gives the metric itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from anyjepa.evaluation.calibration import brier, calibration_error, counted

BLOCK = 2**20  # weights (8 MB) that are looked at together; more are no faster, and 500 resamples would fill the memory


@dataclass(frozen=True)
class Scored:
    """Scores of one test part: what a metric is computed from."""

    values: np.ndarray  # (N, C) in {0, 1}
    scores: np.ndarray  # (N, C) probabilities; those that only rank need no more than an order
    groups: np.ndarray  # (N,) patient of each record
    decided: np.ndarray  # (N, C) whether the class is said to apply
    exclusive: bool = False

    def measure(self, weights: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Every metric by name: overall, (R,), and of each class, (R, C).

        Overall are the means over the classes that have a number ('macro_auroc' of 'auroc'), and accuracies. weights:
        (R, G) of the groups in sorted order; none: every record once.
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
        overall = {f"macro_{name}": macro(found) for name, found in classes.items()}
        if self.exclusive:
            right = self.scores.argmax(1) == self.values.argmax(1)
            hits, records = (counted(weights, group, x[:, None])[:, 0] for x in (right, np.ones(len(right))))
            of_class, known = (counted(weights, group, x) for x in (right[:, None] * self.values, self.values))
            with np.errstate(invalid="ignore"):  # a resample may hold none of these records, or none of a class
                overall["accuracy"], overall["balanced_accuracy"] = hits / records, macro(of_class / known)
        return overall, classes


def auroc(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, (C,); ties count half.

    The share of (positive, negative) pairs in the right order (Mann-Whitney). NaN for a class without positives or
    without negatives.
    """
    return areas(values, scores, *once(len(values)))[0][0]


def once(records: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (1, 1) and groups (N,) by which every record counts once."""
    return np.ones((1, 1)), np.zeros(records, int)


def areas(
    values: np.ndarray, scores: np.ndarray, weights: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and AUPRC of each class, (R, C) both; NaN where a resample has no positives (AUROC: or no negatives).

    AUPRC is the average precision: the sum over thresholds of precision times the step in recall.
    """
    found = [_areas(values[:, c], scores[:, c], weights, group) for c in range(values.shape[1])]
    ranks, precisions = zip(*found, strict=True)
    return np.stack(ranks, axis=1), np.stack(precisions, axis=1)


def _areas(
    value: np.ndarray, score: np.ndarray, weights: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(R,) areas of one class, from what lies at or above each distinct score that a positive has."""
    order = np.argsort(-score, kind="stable")
    ranked, true, member = score[order], value[order] > 0, group[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    held = np.logical_or.reduceat(true, ties)
    start, end = ties[held], np.r_[ties[1:], len(order)][held]  # (K,) ranks
    positives = np.cumsum(true)[end - 1]  # (K,) at or above
    blocks = np.array_split(weights, -(-weights.shape[0] * len(order) // BLOCK))
    found = [_of_ranked(block[:, member], true, start, end, positives) for block in blocks]
    ranks, precisions = zip(*found, strict=True)
    return np.concatenate(ranks), np.concatenate(precisions)


def _of_ranked(
    counts: np.ndarray, true: np.ndarray, start: np.ndarray, end: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The areas of resamples from how often records count, best score first, (R, N)."""
    hits = _before(counts[:, true])[:, np.r_[0, positives]]  # (R, K + 1)
    step = np.diff(hits, axis=1)  # (R, K) positives at each score
    above = _before(counts)
    known, everything = hits[:, -1], above[:, -1]
    worse = above[:, start] + above[:, end] - hits[:, :-1] - hits[:, 1:]  # (R, K) negatives above, twice; of a tie half
    pairs = known * (everything - known)
    with np.errstate(invalid="ignore"):
        precision = hits[:, 1:] / np.maximum(above[:, end], np.finfo(float).tiny)
        return (pairs - (step * worse).sum(1) / 2) / pairs, (step * precision).sum(1) / known


def _before(counts: np.ndarray) -> np.ndarray:
    """(R, N + 1) sums of the first 0, 1, ... N columns."""
    sums = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums


def f1(values: np.ndarray, decided: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(R, C) harmonic mean of precision and recall of the decisions; NaN where a resample has no positives."""
    both, positives, said = (counted(weights, group, x) for x in (values * decided, values, decided))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(positives > 0, 2 * both / (positives + said), np.nan)


def macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that have a number; NaN if none has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(per_class, axis=-1))
