"""Prediction sets that contain the truth at a chosen rate, by split conformal prediction.

Vovk, Gammerman & Shafer 2005; introduced in Angelopoulos & Bates 2023, section 4.2 (class-conditional sets). The score
of an answer is one minus its probability (Sadinle, Lei & Wasserman 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyjepa.errors import InputError


def true_scores(probabilities: np.ndarray, values: np.ndarray, exclusive: bool) -> tuple[np.ndarray, ...]:
    """Sorted scores per answer of the records (N, C) of which it is true. values: labels (N, C).

    Answers are the classes if these are exclusive, and otherwise no and yes to each class in turn.
    """
    answers, truth = as_answers(probabilities, exclusive), values > 0
    if not exclusive:
        truth = np.stack([~truth, truth], axis=2).reshape(len(truth), -1)
    return tuple(np.sort(1 - answers[truth[:, k], k]) for k in range(answers.shape[1]))


def as_answers(probabilities: np.ndarray, exclusive: bool) -> np.ndarray:
    """Probabilities of the classes (N, C) as those of the answers: (N, C) or, no and yes to each class, (N, 2 C)."""
    p = probabilities.astype(float)
    return p if exclusive else np.stack([1 - p, p], axis=2).reshape(len(p), -1)


def prediction_sets(
    scores: Sequence[np.ndarray], probabilities: np.ndarray, exclusive: bool, coverage: float
) -> np.ndarray:
    """Which answers cannot be ruled out for each record, (N, C) or (N, 2 C) bool, see `as_answers`.

    scores: `true_scores` of calibration records. If these and a new record are exchangeable, each true answer is in the
    set with a probability of at least `coverage`, whatever the classifier. Raises InputError for another coverage than
    between 0 and 1.
    """
    error = error_rate(coverage)
    answers = as_answers(probabilities, exclusive)
    sets = np.empty(answers.shape, bool)
    step = len(scores) if exclusive else 2  # a set is of all classes, or of no and yes
    for first in range(0, len(scores), step):
        for k in range(step):
            ranked = _calibration(scores[first : first + step], k, error)
            above = len(ranked) - np.searchsorted(ranked, 1 - answers[:, first + k], side="left")
            sets[:, first + k] = (1 + above) / (1 + len(ranked)) > error
    return sets


def too_few(scores: Sequence[np.ndarray], exclusive: bool, coverage: float) -> list[int]:
    """The answers that are in every set, because no calibration record or too few of them had that answer."""
    error, step = error_rate(coverage), len(scores) if exclusive else 2
    return [
        k for k in range(len(scores))
        if 1 / (1 + len(_calibration(scores[k - k % step : k - k % step + step], k % step, error))) > error
    ]  # fmt: skip


def error_rate(coverage: float) -> float:
    """One minus the coverage. Raises InputError for another coverage than between 0 and 1."""
    if not 0 < coverage < 1:
        raise InputError(f"coverage {coverage:g}: must be between 0 and 1, such as 0.9")
    return round(1 - coverage, 12)


def _calibration(scores: Sequence[np.ndarray], k: int, error: float) -> np.ndarray:
    """Sorted scores to compare those of answer k with: its own, or those of all rare answers if it is rare.

    An answer is rare if it alone can never be ruled out. The new record counts as one of answer k, so that groups of
    answers depend on all records in the same way, and the guarantee holds within each group (Vovk 2012).
    """
    if 1 / (1 + len(scores[k])) <= error:
        return scores[k]
    return np.sort(np.concatenate([s for j, s in enumerate(scores) if j == k or 1 / max(1, len(s)) > error]))
