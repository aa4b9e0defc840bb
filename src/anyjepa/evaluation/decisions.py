"""From probabilities to decisions: a threshold a class, chosen on validation data."""

from __future__ import annotations

import numpy as np

UNCHOSEN = 0.5  # where validation data cannot choose


def best_thresholds(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(C,) thresholds with the largest F1 on validation labels and probabilities (N, C), for `decide`.

    They lie midway between two neighbouring probabilities, so that a test record near one is not decided by chance; of
    equals the highest. NaN for a class without positives.
    """
    return np.array([_best(values[:, c], scores[:, c].astype(float)) for c in range(values.shape[1])])


def _best(value: np.ndarray, score: np.ndarray) -> float:
    if not value.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # last record of each distinct score
    found = np.cumsum(value[order])[ends]
    best = int(np.argmax(2 * found / (ends + 1 + value.sum())))
    below = ranked[ends[best] + 1] if best + 1 < len(ends) else 0.0
    middle = (ranked[ends[best]] + below) / 2
    return float(middle if below < middle else ranked[ends[best]])  # neighbours without a number between them


def decide(scores: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """(N, C) whether each class is said to apply: at its threshold and above (NaN: at .5).

    thresholds: None for exclusive classes, of which the most probable applies; a threshold each could give none or two.
    """
    if thresholds is None:
        return np.eye(scores.shape[1], dtype=bool)[scores.argmax(1)]
    return scores >= np.where(np.isnan(thresholds), UNCHOSEN, thresholds)
