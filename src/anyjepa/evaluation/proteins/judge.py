"""Proteins told from expression: how much of their variation, and whether a cell's own are found among others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import Estimate, percentiles
from anyjepa.evaluation.proteins.result import ProteinResult, ProteinRow
from anyjepa.evaluation.result import environment
from anyjepa.randomness import generator

PENALTIES = np.logspace(-1, 5, 13)
GROUP = 100  # cells among which a cell's own proteins are looked for


@dataclass(frozen=True, eq=False)
class Measured:
    """Proteins of cells, and who trains and who is tested."""

    names: tuple[str, ...]
    levels: np.ndarray  # (N, P) centred log ratios
    train: np.ndarray  # rows
    test: np.ndarray  # rows

    def __post_init__(self) -> None:
        if len(self.train) < 2 or len(self.test) < 2:
            raise InputError(f"proteins are judged on two cells at least, {len(self.test)} are tested")


def judge_proteins(
    measured: Measured,
    representations: Mapping[str, np.ndarray],
    latents: tuple[np.ndarray, np.ndarray] | None,
    cell_type: np.ndarray | None,
    data: str,
    resamples: int = 1000,
    seed: int = 0,
) -> ProteinResult:
    """Each representation (N, D) under the same ridge; the first is the one that all rows are compared with.

    latents: (n, D) predicted and measured representations of the test cells' proteins, matched as they are; cell_type:
    (N,) codes, then the mean of a cell's type in training stands beside, which knows the type and nothing else.
    """
    level, train, test = measured.levels.astype(np.float64), measured.train, measured.test
    mean, spread = level[train].mean(0), np.maximum(level[train].std(0), 1e-8)
    truth = (level[test] - mean) / spread
    weights = _resampled(len(test), resamples, seed)
    predicted = {name: ridge(z[train], (level[train] - mean) / spread, z[test]) for name, z in representations.items()}
    if cell_type is not None:
        predicted["mean of the cell's type"] = _type_means((level - mean) / spread, cell_type, train, test)
    scored = {name: _Scored.of(p, truth, weights, seed) for name, p in predicted.items()}
    if latents is not None:
        scored["its predicted latents, matched as they are"] = _Scored.matched(
            _standard(latents[0]), _standard(latents[1]), weights, seed
        )
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
        proteins=measured.names,
        cells=(len(train), len(test)),
        group=min(GROUP, len(test)),
        rows=rows,
        environment=environment(),
    )


def ridge(z: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predictions (n, P) of a ridge from standardised z (N, D) to y (N, P).

    Each protein has its penalty, by leave-one-out over the training cells (Golub, Heath & Wahba 1979).
    """
    from sklearn.linear_model import RidgeCV

    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-8)
    fitted = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit((z - mean) / spread, y)
    return fitted.predict((asked - mean) / spread)


def own_rank(predicted: np.ndarray, measured: np.ndarray, seed: int) -> np.ndarray:
    """(n,) of each cell which share of the other cells of its group lies farther from its prediction than its own
    measurement does: 1 where its own is the nearest, .5 by chance. Groups of `GROUP` cells are drawn by the seed.
    """
    order = generator(seed, "matched cells", 0).permutation(len(predicted))
    found = np.empty(len(predicted))
    for group in np.array_split(order, max(1, round(len(order) / GROUP))):
        distance = ((predicted[group, None] - measured[group]) ** 2).sum(-1)
        own = np.diagonal(distance)[:, None]
        farther = (distance > own).sum(1) + ((distance == own).sum(1) - 1) / 2
        found[group] = farther / max(len(group) - 1, 1)
    return found


@dataclass(frozen=True, eq=False)
class _Scored:
    """A row's metrics over R resamples of the test cells, the first of which is all cells, each once."""

    by_protein: tuple[float, ...] | None
    metrics: dict[str, np.ndarray]  # (R,)

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray, seed: int) -> _Scored:
        """truth: (n, P) with the training mean at 0."""
        r2 = 1 - (weights @ (predicted - truth) ** 2) / np.maximum(weights @ truth**2, 1e-12)  # (R, P)
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


def _resampled(cells: int, resamples: int, seed: int) -> np.ndarray:
    """(1 + resamples, cells): how often each cell counts, at first once."""
    drawn = generator(seed, "bootstrap", 0).multinomial(cells, np.full(cells, 1 / cells), size=resamples)
    return np.concatenate([np.ones((1, cells)), drawn])


def _type_means(level: np.ndarray, types: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Where training has none of a type, the mean of all, 0."""
    known = np.zeros((types.max() + 1, level.shape[1]))
    for type_ in np.unique(types[train]):
        known[type_] = level[train[types[train] == type_]].mean(0)
    return known[types[test]]


def _standard(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(0)) / np.maximum(z.std(0), 1e-8)
