"""Metrics for predicted effects of perturbations: the change of the mean, and the cells themselves.

Changes of means are (T, G): T test conditions, G genes, log1p units. `true` is the measured mean minus the measured
control; `predicted` is the same for a prediction. A condition without a prediction is a row of NaN, and its metrics are
NaN. Correlations of the means themselves are not used: predicting no change at all already scores 0.97 or more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLAT = 1e-6
"""Root mean square, log1p units, below which a change counts as zero, because float32 means have rounding errors."""


class Metric(NamedTuple):
    """Title of a metric, and the direction that is better: +1 higher, -1 lower, 0 neither."""

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
    """(T,) correlation over genes; 0 for a flat prediction, NaN for a flat truth."""
    a, b = (x - x.mean(1, keepdims=True) for x in (predicted, true))
    length_a, length_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    flat = FLAT * np.sqrt(true.shape[1])
    product = (a * b).sum(1) / np.maximum(length_a * length_b, flat**2)
    product[length_a < flat] = 0
    product[length_b < flat] = np.nan
    return product


def pearson_vs_mean(predicted: np.ndarray, true: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(T,) `pearson` after subtracting the mean change of training conditions (G,) from both.

    Effects that all perturbations share (stress, a batch) dominate Pearson delta, but cancel here
    (Systema, Viñas Torné et al. 2025). The perturbed mean scores 0.
    """
    return pearson(predicted - reference, true - reference)


def top_error(predicted: np.ndarray, true: np.ndarray, genes: int = 20) -> np.ndarray:
    """(T,) squared error relative to predicting no change, on the genes of largest true |change|; NaN for a flat truth.

    0 is perfect, 1 is no better than no change. Smaller panels are used as a whole.
    """
    top = np.argsort(-np.abs(true), axis=1, kind="stable")[:, :genes]
    true_top, predicted_top = np.take_along_axis(true, top, 1), np.take_along_axis(predicted, top, 1)
    none = (true_top**2).mean(1)
    return np.where(none < FLAT**2, np.nan, ((predicted_top - true_top) ** 2).mean(1) / np.maximum(none, FLAT**2))


def distance(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) Euclidean distance, L2."""
    return np.linalg.norm(predicted - true, axis=1)


def discrimination(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) 1 - rank / (T - 1) of a condition's own truth among all T, by squared distance from the prediction.

    1: no other condition's truth is nearer. 0.5 is chance level, and the score of equal predictions for all conditions.
    A truth at the same distance counts half. NaN if there is only one condition.
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
    """(T,) explained share of the truth's variance over genes; below 0 if worse than its mean, NaN for a flat truth.

    Applied to changes, it is the R2 of log fold changes: natural logarithm of expression + 1.
    """
    total = ((true - true.mean(1, keepdims=True)) ** 2).mean(1)
    return np.where(total < FLAT**2, np.nan, 1 - ((predicted - true) ** 2).mean(1) / np.maximum(total, FLAT**2))


def coverage(low: np.ndarray, high: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(T,) share of genes whose true change lies in the interval, ends included; NaN where an end is NaN."""
    inside = ((low <= true) & (true <= high)).mean(1)
    return np.where(np.isnan(low + high).any(1), np.nan, inside)


class MeasuredCells(NamedTuple):
    """The cells of one condition, with the reference values for their predictions."""

    cells: np.ndarray  # (n, G)
    controls: np.ndarray  # (m, G), matched
    spread: float  # mean distance between two cells
    control_spread: float
    changed: np.ndarray  # genes that differ from the controls, largest change first


def measure(cells: np.ndarray, controls: np.ndarray) -> MeasuredCells:
    """Compute the reference values of cells (n, G) and their matched controls (m, G), log1p."""
    return MeasuredCells(cells, controls, within(cells), within(controls), changed_genes(cells, controls))


def energy_distance(
    x: np.ndarray, y: np.ndarray, spread_x: float | None = None, spread_y: float | None = None
) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of cells (n, G) and (m, G), Euclidean (Székely and Rizzo 2013).

    This is the unbiased form, without the zero distances of cells to themselves: its expectation does not depend on the
    number of cells, and it scatters around 0 for two samples of one distribution. NaN for a single cell.
    spread_x, spread_y: `within` of each, if already computed.
    """
    spreads = (within(z) if spread is None else spread for z, spread in ((x, spread_x), (y, spread_y)))
    return 2 * between(x, y) - sum(spreads)


def between(x: np.ndarray, y: np.ndarray) -> float:
    """Mean Euclidean distance between a cell of x and a cell of y."""
    return float(_distances(x, y).mean())


def within(x: np.ndarray) -> float:
    """Mean Euclidean distance between two different cells of x; NaN for a single cell."""
    if len(x) < 2:
        return float("nan")
    far = _distances(x, x)
    return float((far.sum() - np.trace(far)) / (len(x) * (len(x) - 1)))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    middle = x.mean(0, dtype=float)  # for numerical precision of the products
    x, y = x - middle, y - middle
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))


def changed_genes(cells: np.ndarray, controls: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Genes (K,) that differ between cells (n, G) and controls (m, G), largest |change of mean| first.

    Two-sided Wilcoxon rank-sum test (normal approximation, corrected for ties) at false discovery rate `rate`
    (Benjamini and Hochberg 1995).
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    change = np.abs(cells.mean(0) - controls.mean(0))
    p = np.ones(cells.shape[1])
    varies = np.ptp(np.concatenate([cells, controls]), axis=0) > 0
    if varies.any():
        p[varies] = mannwhitneyu(cells[:, varies], controls[:, varies], method="asymptotic").pvalue
    order = np.argsort(-change, kind="stable")
    return order[(false_discovery_control(p) < rate)[order]]


def overlap(change: np.ndarray, measured: MeasuredCells, most: int = 50) -> tuple[float, float]:
    """Share of changed genes among the top genes of a predicted change (G,), and share with the right direction.

    For K changed genes, at most `most`, the top genes are the K with the largest predicted |change|. A prediction of no
    change has no top genes and no directions. The share is K / G by chance, and NaN if no gene changed.
    """
    changed = measured.changed[:most]
    if not len(changed):
        return float("nan"), float("nan")
    named = [gene for gene in np.argsort(-np.abs(change), kind="stable")[: len(changed)] if abs(change[gene]) > FLAT]
    true = measured.cells[:, changed].mean(0) - measured.controls[:, changed].mean(0)
    right = (np.sign(change[changed]) == np.sign(true)) & (np.abs(change[changed]) > FLAT)
    return len(np.intersect1d(named, changed)) / len(changed), float(right.mean())


def cell_metrics(change: np.ndarray, cells: np.ndarray | None, measured: MeasuredCells) -> dict[str, float]:
    """All metrics that need cells, for a predicted change (G,) and predicted cells (n, G).

    cells: None if only the mean is predicted; then the control cells, each shifted by the change, are used.
    """
    named, right = overlap(change, measured)
    predicted = measured.controls + change if cells is None else cells
    spread = measured.control_spread if cells is None else None
    variances = (
        x.var(0, ddof=1)[None] if len(x) > 1 else np.full((1, len(change)), np.nan) for x in (predicted, measured.cells)
    )
    return {
        "energy_distance": energy_distance(predicted, measured.cells, spread, measured.spread),
        "r2_variance": float(r2(*variances)[0]),
        "de_overlap": named,
        "de_direction": right,
    }
