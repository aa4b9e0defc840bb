"""Proteins told from expression: how much of their variation, and whether a cell's own are found among others'."""

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
GROUP = 100  # cells among which a cell's own proteins are looked for


@dataclass(frozen=True, eq=False)
class Measured:
    """Proteins of cells, and who trains and who is tested. InputError if nothing can be told of them."""

    names: tuple[str, ...]
    levels: np.ndarray  # (N, P) centred log ratios
    train: np.ndarray  # rows
    test: np.ndarray  # rows
    donor: np.ndarray | None = None  # (N,) codes, where donors are known
    cell_type: np.ndarray | None = None  # (N,) codes, where types are known

    def __post_init__(self) -> None:
        if len(self.train) < 2 or len(self.test) < 2:
            told = f"{len(self.train)} train and {len(self.test)} are tested"
            raise InputError(f"proteins need two cells at least to train on and two to be tested: {told}")
        if not self.varying.any():
            raise InputError("no protein varies both among the training cells and among the tested ones")

    @property
    def varying(self) -> np.ndarray:
        """(P,) proteins that differ between cells, in training and in the test: of others there is nothing to tell."""
        return np.logical_and(*(np.ptp(self.levels[rows], axis=0) > 1e-6 for rows in (self.train, self.test)))


def judge_proteins(
    measured: Measured,
    representations: Mapping[str, np.ndarray],
    latents: tuple[np.ndarray, np.ndarray] | None,
    data: str,
    resamples: int = 1000,
    seed: int = 0,
) -> ProteinResult:
    """Each representation (N, D) under the same ridge; the first is the one that all rows are compared with.

    latents: (n, D) predicted and measured representations of the test cells' proteins, compared as they are. Where
    types are known, the mean of a cell's type in training stands beside, which knows the type and nothing else.
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
            by_protein=found.by_protein,
            metrics=found.estimates(),
            difference={} if found is first else first.minus(found),
        )
        for name, found in scored.items()
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


def ridge(z: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predictions (n, P) of a ridge from standardised z (N, D) to y (N, P).

    Each protein has its penalty, by leave-one-out over the training cells (Golub, Heath & Wahba 1979).
    """
    from sklearn.linear_model import RidgeCV

    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-8)
    fitted = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit((z - mean) / spread, y)
    return fitted.predict((asked - mean) / spread).reshape(len(asked), -1)  # also of one protein


def own_rank(predicted: np.ndarray, measured: np.ndarray, seed: int) -> np.ndarray:
    """(n,) of each cell which share of the other cells of its group lies farther from its prediction than its own
    measurement does: 1 where its own is the nearest, .5 by chance. Groups of `GROUP` cells are drawn by the seed; the
    last one is filled up with cells that are scored in another.
    """
    order = generator(seed, "matched cells", 0).permutation(len(predicted))
    found, size = np.empty(len(predicted)), min(GROUP, len(predicted))
    for first in range(0, len(order), size):
        asked = order[first : first + size]
        group = np.r_[asked, order[: size - len(asked)]]
        distance = ((predicted[asked, None] - measured[group]) ** 2).sum(-1)
        own = np.diagonal(distance)[:, None]
        farther = (distance > own).sum(1) + ((distance == own).sum(1) - 1) / 2
        found[asked] = farther / (size - 1)
    return found


@dataclass(frozen=True, eq=False)
class _Scored:
    """A row's metrics over R resamples of the test cells, the first of which is all cells, each once."""

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


def _resampled(measured: Measured, resamples: int, seed: int) -> tuple[np.ndarray, Over]:
    """(1 + resamples, cells): how often each test cell counts, at first once; and what is drawn, donors where the test
    has two or more."""
    cells = np.arange(len(measured.test))
    donors = cells if measured.donor is None else np.unique(measured.donor[measured.test], return_inverse=True)[1]
    by_donor = 1 < donors.max() + 1 < len(cells)
    groups = donors if by_donor else cells
    number = int(groups.max()) + 1
    drawn = generator(seed, "bootstrap", 0).multinomial(number, np.full(number, 1 / number), size=resamples)
    return np.concatenate([np.ones((1, len(cells))), drawn[:, groups]]), "donors" if by_donor else "cells"


def _type_means(level: np.ndarray, types: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Where training has none of a type, the mean of all, 0."""
    known = np.zeros((types.max() + 1, level.shape[1]))
    for type_ in np.unique(types[train]):
        known[type_] = level[train[types[train] == type_]].mean(0)
    return known[types[test]]
