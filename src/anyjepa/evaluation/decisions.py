"""Convert probabilities to decisions, with one threshold per class that is chosen on validation data."""

from __future__ import annotations

import numpy as np

UNCHOSEN = 0.5  # threshold of a class without positives in the validation data


def best_thresholds(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Thresholds (C,) for `decide` with the largest F1 on validation labels and probabilities (N, C).

    A threshold is the midpoint between two neighbouring probabilities, so that rounding does not decide about records
    near one of them. The highest threshold breaks ties. NaN for a class without positives.
    """
    return np.array([_best(values[:, c], scores[:, c].astype(float)) for c in range(values.shape[1])])


def _best(value: np.ndarray, score: np.ndarray) -> float:
    if not value.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # last record of each distinct score
    hits = np.cumsum(value[order])[ends]
    best = int(np.argmax(2 * hits / (ends + 1 + value.sum())))
    below = ranked[ends[best] + 1] if best + 1 < len(ends) else 0.0
    middle = (ranked[ends[best]] + below) / 2
    return float(middle if below < middle else ranked[ends[best]])  # adjacent floats have no midpoint


def decide(scores: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """Whether each class is predicted, (N, C): its probability is at least its threshold (NaN: 0.5).

    thresholds: None for exclusive classes, of which the most probable is predicted.
    """
    if thresholds is None:
        return np.eye(scores.shape[1], dtype=bool)[scores.argmax(1)]
    return scores >= np.where(np.isnan(thresholds), UNCHOSEN, thresholds)
