"""How well the cells of a condition are predicted, not only their mean: energy distance, variances, changed genes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anyjepa.perturbation.scoring.metrics import FLAT, r2


class Measured(NamedTuple):
    """The cells of one condition, and what every prediction of them is compared with."""

    cells: np.ndarray  # (n, G)
    controls: np.ndarray  # (m, G), matched
    spread: float  # mean distance of two cells
    control_spread: float
    changed: np.ndarray  # genes that differ from the controls, the largest change first


def measure(cells: np.ndarray, controls: np.ndarray) -> Measured:
    """Cells (n, G) and their matched controls (m, G), log1p."""
    return Measured(cells, controls, within(cells), within(controls), changed_genes(cells, controls))


def energy_distance(
    x: np.ndarray, y: np.ndarray, spread_x: float | None = None, spread_y: float | None = None
) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of cells (n, G) and (m, G), Euclidean (Székely and Rizzo 2013).

    The unbiased form, without the zero distances of cells to themselves: its mean does not depend on the number of
    cells, and two samples of one distribution scatter around 0. NaN for a single cell. spread_x, spread_y: `within` of
    each, where that is known.
    """
    spreads = (within(z) if known is None else known for z, known in ((x, spread_x), (y, spread_y)))
    return 2 * between(x, y) - sum(spreads)


def between(x: np.ndarray, y: np.ndarray) -> float:
    """Mean Euclidean distance of a cell of x from one of y."""
    return float(_distances(x, y).mean())


def within(x: np.ndarray) -> float:
    """Mean Euclidean distance of two different cells of x; NaN for a single one."""
    if len(x) < 2:
        return float("nan")
    far = _distances(x, x)
    return float((far.sum() - np.trace(far)) / (len(x) * (len(x) - 1)))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    middle = x.mean(0, dtype=float)  # for the products' digits
    x, y = x - middle, y - middle
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))


def changed_genes(cells: np.ndarray, controls: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Genes (K,) that differ between cells (n, G) and controls (m, G), the largest |change of mean| first.

    Two-sided Wilcoxon rank-sum test, normal with ties, false discovery rate `rate` (Benjamini and Hochberg 1995).
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    change = np.abs(cells.mean(0) - controls.mean(0))
    p = np.ones(cells.shape[1])
    varies = np.ptp(np.concatenate([cells, controls]), axis=0) > 0
    if varies.any():
        p[varies] = mannwhitneyu(cells[:, varies], controls[:, varies], method="asymptotic").pvalue
    order = np.argsort(-change, kind="stable")
    return order[(false_discovery_control(p) < rate)[order]]


def overlap(change: np.ndarray, measured: Measured, most: int = 50) -> tuple[float, float]:
    """Share of changed genes that a predicted change (G,) names, and share whose direction it has.

    Of K changed genes, at most `most`, the prediction names the K of its largest |change|; one that changes nothing
    names none, and has no direction. Chance names K / G. NaN where no gene changed.
    """
    changed = measured.changed[:most]
    if not len(changed):
        return float("nan"), float("nan")
    named = [gene for gene in np.argsort(-np.abs(change), kind="stable")[: len(changed)] if abs(change[gene]) > FLAT]
    true = measured.cells[:, changed].mean(0) - measured.controls[:, changed].mean(0)
    right = (np.sign(change[changed]) == np.sign(true)) & (np.abs(change[changed]) > FLAT)
    return len(np.intersect1d(named, changed)) / len(changed), float(right.mean())


def cell_metrics(change: np.ndarray, cells: np.ndarray | None, measured: Measured) -> dict[str, float]:
    """Every metric that needs cells, of a predicted change (G,) and predicted cells (n, G).

    cells: None for a prediction of the mean alone; then the control cells, each moved by the change.
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
