"""Metrics of probabilities (N, C) against labels (N, C), each for every bootstrap resample at once.

weights: (R, N), how often each record counts in each of R resamples; one row of ones gives the metric itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from anyjepa.evaluation.calibration import brier, calibration_error


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

        Overall are the means over the classes that have a number ('macro_auroc' of 'auroc'), and accuracies.
        """
        weights = np.ones((1, len(self.values))) if weights is None else weights
        ranks, precisions = areas(self.values, self.scores, weights)
        classes = {
            "auroc": ranks,
            "auprc": precisions,
            "f1": f1(self.values, self.decided, weights),
            "ece": calibration_error(self.values, self.scores, weights),
            "brier": brier(self.values, self.scores, weights),
        }
        overall = {f"macro_{name}": macro(found) for name, found in classes.items()}
        if self.exclusive:
            right = self.scores.argmax(1) == self.values.argmax(1)
            overall["accuracy"] = _share(weights, right[:, None], np.ones((len(right), 1)))[:, 0]
            overall["balanced_accuracy"] = macro(_share(weights, right[:, None] * self.values, self.values))
        return overall, classes


def auroc(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, (C,); ties count half.

    The share of (positive, negative) pairs in the right order (Mann-Whitney). NaN for a class without positives or
    without negatives.
    """
    return areas(values, scores, np.ones((1, len(values))))[0][0]


def areas(values: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and AUPRC of each class, (R, C) both; NaN where a resample has no positives (AUROC: or no negatives).

    AUPRC is the average precision: the sum over thresholds of precision times the step in recall.
    """
    found = [_areas(values[:, c], scores[:, c], weights) for c in range(values.shape[1])]
    ranks, precisions = zip(*found, strict=True)
    return np.stack(ranks, axis=1), np.stack(precisions, axis=1)


def _areas(value: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) areas of one class, from what lies at or above each distinct score."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counted = weights[:, order]  # (R, N)
    positive = np.add.reduceat(counted * value[order], ties, axis=1)  # (R, distinct scores)
    negative = np.add.reduceat(counted * (1 - value[order]), ties, axis=1)
    hits, misses = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = (negative * (hits - positive / 2)).sum(1) / (hits[:, -1] * misses[:, -1])
        precision = hits / np.maximum(hits + misses, np.finfo(float).tiny)
        return ranks, (positive * precision).sum(1) / hits[:, -1]


def f1(values: np.ndarray, decided: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, C) harmonic mean of precision and recall of the decisions; NaN where a resample has no positives."""
    both = weights @ (values * decided)
    positives = weights @ values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(positives > 0, 2 * both / (positives + weights @ decided.astype(float)), np.nan)


def macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that have a number; NaN if none has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(per_class, axis=-1))


def _share(weights: np.ndarray, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(R, C) weighted count of `part` over that of `whole`, (N, C) both; NaN where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ part) / (weights @ whole)
