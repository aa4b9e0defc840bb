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

    bootstrap: 95 % bootstrap interval over groups (patients).
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
    """Mean and 95 % t interval over repeats. NaN values are ignored, and fewer than two values give no interval.

    overlap: ratio of test to training records, if repeats draw both from the same records (1 / (k - 1) for k folds).
    The variance of the mean is then s² (1 / n + overlap), because s² / n would treat overlapping training sets as
    independent (Nadeau and Bengio 2003, section 3; Bouckaert and Frank 2004 for repeated folds).
    limits: range of the metric, to which the interval is clipped.
    """
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return UNKNOWN
    mean = float(finite.mean())
    if len(finite) == 1:
        return Estimate(mean, None, None, 1, bootstrap)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) * np.sqrt(1 / len(finite) + overlap))
    return Estimate(mean, max(mean - half, limits[0]), min(mean + half, limits[1]), len(finite), bootstrap)


def paired_difference(
    a: Sequence[float], b: Sequence[float], overlap: float = 0.0, bootstrap: Interval | None = None
) -> Estimate:
    """`estimate` of a - b over the same repeats, for metrics from 0 to 1. Effects of shared folds and seeds cancel."""
    return estimate([x - y for x, y in zip(a, b, strict=True)], overlap, (-1, 1), bootstrap)


@dataclass(frozen=True)
class Resampled:
    """Metrics over R resamples of the groups, by name; empty arrays without resampling."""

    overall: dict[str, np.ndarray]  # (R,)
    classes: dict[str, np.ndarray]  # (R, C)


def bootstrap(tests: Sequence[Scored], resamples: int, seed: int = 0) -> Resampled:
    """Every metric, averaged over `tests`, for bootstrap resamples of the groups (patients); empty for one group.

    All records of a patient are resampled together, in all test parts. Classes that are missing from a resample are
    ignored in its macro mean, because drawing again would favour rare classes; NaN if all are missing. The resamples
    depend only on the groups and the seed, so a - b for two scorings of the same test parts is paired by patient.
    """
    names = np.unique(np.concatenate([test.groups for test in tests]))
    if len(names) < 2 or not resamples:
        return Resampled({}, {})
    drawn = generator(seed, "bootstrap", 0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights = drawn.astype(float)
    measured = [test.measure(weights[:, np.isin(names, test.groups)]) for test in tests]
    overall, classes = (
        {name: macro(np.stack([parts[part][name] for parts in measured], axis=-1)) for name in measured[0][part]}
        for part in (0, 1)
    )
    return Resampled(overall, classes)


def percentiles(resampled: np.ndarray | None) -> Interval | None:
    """95 % percentile interval of resamples (R,), or of the difference of two; None if no value is finite."""
    finite = np.empty(0) if resampled is None else resampled[np.isfinite(resampled)]
    return (float(np.quantile(finite, 0.025)), float(np.quantile(finite, 0.975))) if len(finite) else None
