"""Confidence intervals of metrics, over repeats and over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.evaluation.metrics import Scored, macro
from anyjepa.randomness import generator

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats with its 95 % t interval (low, high); None where it is undefined.

    bootstrap: 95 % interval over groups (patients).
    """

    mean: float | None
    low: float | None
    high: float | None
    repeats: int
    bootstrap: Interval | None = None


UNKNOWN = Estimate(None, None, None, 0)


def estimate(
    values: Sequence[float],
    overlap: float = 0.0,
    limits: tuple[float, float] = (-np.inf, np.inf),
    bootstrap: Interval | None = None,
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
        return Estimate(mean, None, None, 1, bootstrap)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) * np.sqrt(1 / len(known) + overlap))
    return Estimate(mean, max(mean - half, limits[0]), min(mean + half, limits[1]), len(known), bootstrap)


def paired_difference(
    a: Sequence[float], b: Sequence[float], overlap: float = 0.0, bootstrap: Interval | None = None
) -> Estimate:
    """`estimate` of a - b, metrics in 0 to 1, over the same repeats: what repeats share (folds, seeds) cancels."""
    return estimate([x - y for x, y in zip(a, b, strict=True)], overlap, (-1, 1), bootstrap)


@dataclass(frozen=True)
class Resampled:
    """Metrics over R resamples of the groups, by name; empty arrays where nothing was resampled."""

    overall: dict[str, np.ndarray]  # (R,)
    classes: dict[str, np.ndarray]  # (R, C)


def bootstrap(tests: Sequence[Scored], resamples: int, seed: int = 0) -> Resampled:
    """Every metric, mean over `tests`, each time the groups (patients) are drawn anew; none for a single group.

    A patient brings all records, in every test part at once. A class that a resample lacks is left out of that macro
    mean instead of drawing again, which would favour rare classes; NaN if it lacks all. The draws depend on the groups
    and the seed only, so for two scorings of the same test parts a - b resamples their difference, paired by patient.
    """
    names = np.unique(np.concatenate([test.groups for test in tests]))
    if len(names) < 2 or not resamples:
        return Resampled({}, {})
    drawn = generator(seed, "bootstrap", 0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights = drawn.astype(float)
    measured = [test.measure(weights[:, np.isin(names, test.groups)]) for test in tests]
    overall, classes = (
        {name: macro(np.stack([found[part][name] for found in measured], axis=-1)) for name in measured[0][part]}
        for part in (0, 1)
    )
    return Resampled(overall, classes)


def percentiles(resampled: np.ndarray | None) -> Interval | None:
    """95 % percentile interval of resamples (R,), or of the difference of two; None without a finite value."""
    known = np.empty(0) if resampled is None else resampled[np.isfinite(resampled)]
    return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if len(known) else None
