"""Score proteins predicted from expression: explained variance, and whether a cell is recognised among others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import Estimate, percentiles
from anyjepa.evaluation.proteins.result import Over, ProteinResult, ProteinRow
from anyjepa.randomness import generator
from anyjepa.versions import versions

PENALTIES = np.logspace(-1, 5, 13)
GROUP = 100  # cells among which a cell must be recognised by its proteins


@dataclass(frozen=True, eq=False)
class MeasuredProteins:
    """Proteins of training and test cells. Raises InputError for too few cells, or if no protein varies."""

    names: tuple[str, ...]
    levels: np.ndarray  # (N, P) centred log ratios
    train: np.ndarray  # rows
    test: np.ndarray  # rows
    donor: np.ndarray | None = None  # (N,) codes, where donors are known
    cell_type: np.ndarray | None = None  # (N,) codes, where types are known

    def __post_init__(self) -> None:
        if len(self.train) < 2 or len(self.test) < 2:
            raise InputError(
                "evaluating proteins needs at least two training cells and two test cells; "
                f"there are {len(self.train)} and {len(self.test)}"
            )
        if not self.varying.any():
            raise InputError("no protein varies among both the training cells and the test cells")

    @property
    def varying(self) -> np.ndarray:
        """(P,) whether a protein varies among the training cells and among the test cells; the others are left out."""
        return np.logical_and(*(np.ptp(self.levels[rows], axis=0) > 1e-6 for rows in (self.train, self.test)))


def score_proteins(
    measured: MeasuredProteins,
    representations: Mapping[str, np.ndarray],
    latents: tuple[np.ndarray, np.ndarray] | None,
    data: str,
    resamples: int = 1000,
    seed: int = 0,
) -> ProteinResult:
    """Score the same ridge on each representation (N, D), and compare all rows with the first one.

    latents: (n, D) predicted and measured representations of the test cells' proteins, compared without a ridge. If
    cell types are known, another row predicts the training mean of the cell's type.
    """
    kept, train, test = measured.varying, measured.train, measured.test
    level = measured.levels[:, kept].astype(np.float64)
    level = (level - level[train].mean(0)) / level[train].std(0)
    weights, over = _resampled(measured, resamples, seed)
    predicted = {name: ridge(z[train], level[train], z[test]) for name, z in representations.items()}
    if measured.cell_type is not None:
        predicted["mean of the cell's type"] = _type_means(level, measured.cell_type, train, test)
    scored = {name: _Scored.of(one, level[test], weights, seed) for name, one in predicted.items()}
    if latents is not None:
        scored["its predicted latents, without a ridge"] = _Scored.matched(*latents, weights, seed)
    first = next(iter(scored.values()))
    rows = tuple(
        ProteinRow(
            name=name,
            by_protein=one.by_protein,
            metrics=one.estimates(),
            difference={} if one is first else first.minus(one),
        )
        for name, one in scored.items()
    )
    return ProteinResult(
        data=data,
        proteins=tuple(name for name, keep in zip(measured.names, kept, strict=True) if keep),
        left_out=tuple(name for name, keep in zip(measured.names, kept, strict=True) if not keep),
        cells=(len(train), len(test)),
        group=min(GROUP, len(test)),
        over=over,
        rows=rows,
        environment=versions(),
    )


def ridge(z: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Predict (n, P) for `new` (n, D) with a ridge from standardised z (N, D) to y (N, P).

    Each protein has its own penalty, chosen by leave-one-out over the training cells (Golub, Heath & Wahba 1979).
    """
    from sklearn.linear_model import RidgeCV

    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-8)
    fitted = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit((z - mean) / spread, y)
    return fitted.predict((new - mean) / spread).reshape(len(new), -1)  # also for one protein


def own_rank(predicted: np.ndarray, measured: np.ndarray, seed: int) -> np.ndarray:
    """(n,) share of other cells in its group whose measurement is farther from a cell's prediction than its own.

    It is 1 if the cell's own measurement is the nearest, and 0.5 by chance. The seed draws groups of `GROUP` cells; the
    last group is filled up with cells that are scored in another group.
    """
    order = generator(seed, "matched cells", 0).permutation(len(predicted))
    rank, size = np.empty(len(predicted)), min(GROUP, len(predicted))
    for first in range(0, len(order), size):
        members = order[first : first + size]
        group = np.r_[members, order[: size - len(members)]]
        distance = ((predicted[members, None] - measured[group]) ** 2).sum(-1)
        own = np.diagonal(distance)[:, None]
        farther = (distance > own).sum(1) + ((distance == own).sum(1) - 1) / 2
        rank[members] = farther / (size - 1)
    return rank


@dataclass(frozen=True, eq=False)
class _Scored:
    """Metrics of a row for R resamples of the test cells. The first resample has every cell once."""

    by_protein: tuple[float, ...] | None
    metrics: dict[str, np.ndarray]  # (R,)

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray, seed: int) -> _Scored:
        """truth: (n, P) with the training mean at 0."""
        r2 = 1 - (weights @ (predicted - truth) ** 2) / (weights @ truth**2)  # (R, P)
        matched = cls.matched(predicted, truth, weights, seed)
        return cls(tuple(r2[0].tolist()), {"r2": r2.mean(1), **matched.metrics})

    @classmethod
    def matched(cls, predicted: np.ndarray, measured: np.ndarray, weights: np.ndarray, seed: int) -> _Scored:
        rank = own_rank(predicted, measured, seed)
        total = weights.sum(1)
        return cls(None, {"rank": weights @ rank / total, "first": weights @ (rank == 1) / total})

    def estimates(self) -> dict[str, Estimate]:
        return {name: _estimate(values) for name, values in self.metrics.items()}

    def minus(self, other: _Scored) -> dict[str, Estimate]:
        return {name: _estimate(self.metrics[name] - values) for name, values in other.metrics.items()}


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values[0]), None, None, 1, percentiles(values[1:]) if len(values) > 1 else None)


def _resampled(measured: MeasuredProteins, resamples: int, seed: int) -> tuple[np.ndarray, Over]:
    """(1 + resamples, cells) weight of each test cell, 1 in the first row; and what is resampled.

    Donors are resampled if the test cells have two or more.
    """
    cells = np.arange(len(measured.test))
    donors = cells if measured.donor is None else np.unique(measured.donor[measured.test], return_inverse=True)[1]
    by_donor = 1 < donors.max() + 1 < len(cells)
    groups = donors if by_donor else cells
    number = int(groups.max()) + 1
    drawn = generator(seed, "bootstrap", 0).multinomial(number, np.full(number, 1 / number), size=resamples)
    return np.concatenate([np.ones((1, len(cells))), drawn[:, groups]]), "donors" if by_donor else "cells"


def _type_means(level: np.ndarray, types: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict the training mean of each cell's type; 0, the overall mean, for a type without training cells."""
    means = np.zeros((types.max() + 1, level.shape[1]))
    for type_ in np.unique(types[train]):
        means[type_] = level[train[types[train] == type_]].mean(0)
    return means[types[test]]
