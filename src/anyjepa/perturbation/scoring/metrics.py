"""How well changes of means are predicted, condition by condition. (T, G): T test conditions, G genes, log1p units.

`true` is the measured mean minus the measured control; `predicted` the same of a prediction, a row of NaN where there
is none: its metrics are NaN, and so is every metric of a condition that has no such number.
Undifferenced correlations are not here: those of doing nothing are .97 and above.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLAT = 1e-6
"""Root mean square, log1p units, below which a change is none: the rounding of float32 means is larger than zero."""


class Metric(NamedTuple):
    """What a number is called, and which is better: +1 more, -1 less, 0 neither."""

    title: str
    better: int


METRICS = {
    "pearson_delta": Metric("Pearson delta", 1),
    "pearson_vs_mean": Metric("Pearson vs mean", 1),
    "top20_mse": Metric("top-20 MSE", -1),
    "discrimination": Metric("discrimination", 1),
    "l2": Metric("L2", -1),
    "r2_change": Metric("R2 of change", 1),
    "r2_mean": Metric("R2 of means", 1),
    "coverage": Metric("coverage", 0),
    "energy_distance": Metric("energy distance", -1),
    "r2_variance": Metric("R2 of variances", 1),
    "de_overlap": Metric("DE overlap", 1),
    "de_direction": Metric("DE direction", 1),
}


def pearson(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) correlation over genes; 0 for a flat prediction, which says nothing, NaN for a flat truth."""
    a, b = (x - x.mean(1, keepdims=True) for x in (predicted, true))
    length_a, length_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    flat = FLAT * np.sqrt(true.shape[1])
    product = (a * b).sum(1) / np.maximum(length_a * length_b, flat**2)
    product[length_a < flat] = 0
    product[length_b < flat] = np.nan
    return product


def pearson_vs_mean(predicted: np.ndarray, true: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(T,) `pearson` after the mean change of training conditions (G,) was taken from both.

    What all perturbations share (stress, a batch) makes most of Pearson delta and nothing of this
    (Systema, Viñas Torné et al. 2025). The perturbed mean scores 0.
    """
    return pearson(predicted - reference, true - reference)


def top_error(predicted: np.ndarray, true: np.ndarray, genes: int = 20) -> np.ndarray:
    """(T,) squared error over that of no change, both on the genes of largest true |change|; NaN for a flat truth.

    0 is perfect, 1 no better than no change. Panels of fewer genes are taken whole.
    """
    top = np.argsort(-np.abs(true), axis=1, kind="stable")[:, :genes]
    wanted, found = np.take_along_axis(true, top, 1), np.take_along_axis(predicted, top, 1)
    none = (wanted**2).mean(1)
    return np.where(none < FLAT**2, np.nan, ((found - wanted) ** 2).mean(1) / np.maximum(none, FLAT**2))


def distance(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) Euclidean distance, L2."""
    return np.linalg.norm(predicted - true, axis=1)


def discrimination(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) 1 - rank / (T - 1) of the own truth among all T by squared distance from the prediction.

    1: no other condition's truth is nearer; .5 is chance, and what equal predictions for all conditions have. A truth
    at the same distance counts half. NaN where there is only one condition.
    """
    answered = predicted[~np.isnan(predicted).any(1)]
    if len(true) < 2:
        return np.full(len(true), np.nan)
    if len(answered) > 1 and np.ptp(answered, axis=0).max() < FLAT:
        return np.where(np.isnan(predicted).any(1), np.nan, 0.5)
    far = np.stack([((true - row) ** 2).sum(1) for row in predicted])  # (T, T)
    own = np.diag(far)[:, None]
    rank = (far < own).sum(1) + ((far == own).sum(1) - 1) / 2
    return np.where(np.isnan(own[:, 0]), np.nan, 1 - rank / (len(true) - 1))


def r2(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) share of the truth's variance over genes that is explained; below 0 worse than its mean, NaN if it is flat.

    Of changes it is the R2 of log fold change, natural logarithm of expression + 1.
    """
    total = ((true - true.mean(1, keepdims=True)) ** 2).mean(1)
    return np.where(total < FLAT**2, np.nan, 1 - ((predicted - true) ** 2).mean(1) / np.maximum(total, FLAT**2))


def coverage(low: np.ndarray, high: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) share of genes whose true change lies in the interval, ends included; NaN where an end is."""
    inside = ((low <= true) & (true <= high)).mean(1)
    return np.where(np.isnan(low + high).any(1), np.nan, inside)
