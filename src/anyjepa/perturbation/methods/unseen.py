"""Predict changes due to genes that training does not perturb, from cells in which these genes vary by chance.

Cells of one condition differ by chance in the expression of a gene, and so in what it regulates. The slope of cells
along the gene, with the perturbed genes held fixed, gives the direction of its perturbation. The size and sign are
learned from the perturbations in training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from anyjepa.perturbation.scoring.baselines import kernel_ridge, require_features
from anyjepa.perturbation.scoring.effects import Effects

RIDGE = 0.3  # penalty of slopes, in mean variances of the genes; 0.1 to 1 work equally well


class Unseen:
    """Predict how the change due to a gene differs from the mean change due to a perturbation.

    The difference is one factor times the deviation of the gene's slope from the mean slope. If `features` (F,) of the
    gene are available, a kernel ridge of the residuals on them is added. changes: (P, G), learned for `names`.
    expression: cells (n, G), and latent: (n, D), both minus the mean of each condition. decoder: (D, G), latent to
    expression. The factor is fitted without the perturbed genes themselves; these are predicted to keep the same share
    of their control expression as the perturbed genes in training.
    """

    def __init__(
        self,
        train: Effects,
        names: Sequence[str],
        changes: np.ndarray,
        expression: np.ndarray,
        latent: np.ndarray,
        decoder: np.ndarray,
        features: Mapping[str, np.ndarray] | None = None,
    ):
        self.row = {gene: i for i, gene in enumerate(train.genes)}
        self.expression, self.latent, self.decoder, self.features = expression, latent, decoder, features or {}
        require_features(self.features)
        inside = [i for i, name in enumerate(names) if name in self.row]
        self.rows, self.left = [self.row[names[i]] for i in inside], _left(train, self.row)
        rest = changes - changes.mean(0)
        if len(inside) > 1:
            slopes = self._slopes(self.rows)
            self.mean_slope = slopes.mean(0)
            predicted = slopes - self.mean_slope
            predicted[np.arange(len(inside)), self.rows] = 0
            self.factor = float((predicted * rest[inside]).sum() / max((predicted**2).sum(), 1e-12))
            rest[inside] -= self.factor * predicted
        described = [i for i, name in enumerate(names) if name in self.features]
        self.weights = None
        if len(described) > 1:
            of = np.stack([self.features[names[i]] for i in described]).astype(float)
            self.weights = kernel_ridge(of, rest[described])

    def change(self, name: str) -> np.ndarray | None:
        """(G,) difference from the mean change; None for a gene that has neither a slope nor features."""
        parts = []
        if name in self.row and len(self.rows) > 1:
            parts.append(self.factor * (self._slopes([self.row[name], *self.rows])[0] - self.mean_slope))
        if name in self.features and self.weights is not None:
            parts.append(self.features[name] @ self.weights)
        return np.sum(parts, axis=0) if parts else None

    def own_change(self, name: str, control: np.ndarray) -> tuple[int, float] | None:
        """Index of the gene, and the change of its own expression from the control mean (G,)."""
        if self.left is None or (gene := self.row.get(name)) is None:
            return None
        return gene, float(np.log1p(self.left * np.expm1(control[gene])) - control[gene])

    def _slopes(self, genes: Sequence[int]) -> np.ndarray:
        """(K, G) decoded change of cells along each of K genes, with the others held fixed."""
        x = self.expression[:, list(genes)]
        square = x.T @ x
        penalty = RIDGE * np.trace(square) / len(square)
        return np.linalg.solve(square + penalty * np.eye(len(square)), x.T @ self.latent) @ self.decoder


class Contexts:
    """Kernel ridge on the control state: contexts with similar controls respond similarly.

    represent: maps control means (n, G) to states (n, D). control: (C, G) controls of the training conditions. rest:
    (C, G) residuals of their changes, which are averaged per context. The kernel is linear in states minus their mean
    over contexts; the penalty is its mean diagonal. Nothing is added unless this predicts left-out training contexts
    better than the mean of the others does, so one or two contexts add nothing.
    """

    def __init__(self, represent: Callable[[np.ndarray], np.ndarray], control: np.ndarray, rest: np.ndarray):
        means, own = np.unique(control, axis=0, return_inverse=True)
        member = own.ravel() == np.arange(len(means))[:, None]  # (contexts, C)
        left = member @ rest / member.sum(1, keepdims=True)
        self.represent, self.states, self.left = represent, represent(means).astype(float), left
        self.help = False
        if len(means) > 2:
            others = [np.arange(len(means)) != k for k in range(len(means))]
            mean = np.stack([left[of].mean(0) for of in others])
            predicted = np.stack([self._predict(of, self.states[~of])[0] for of in others])
            self.help = bool(((left - predicted) ** 2).sum() < ((left - mean) ** 2).sum())

    def change(self, control: np.ndarray) -> np.ndarray:
        """(T, G) change to add, from control means (T, G)."""
        if not self.help:
            return np.zeros(control.shape)
        return self._predict(np.ones(len(self.states), bool), self.represent(control).astype(float))

    def _predict(self, chosen: np.ndarray, states_of: np.ndarray) -> np.ndarray:
        """Predict (T, G) for states (T, D) from some of the contexts."""
        states, left = self.states[chosen], self.left[chosen]
        centre, mean = states.mean(0), left.mean(0)
        kernel = (states - centre) @ (states - centre).T
        penalty = max(np.trace(kernel) / len(kernel), 1e-12) * np.eye(len(kernel))
        return mean + (states_of - centre) @ (states - centre).T @ np.linalg.solve(kernel + penalty, left - mean)


def _left(train: Effects, row: Mapping[str, int]) -> float | None:
    """Share of unlogged control expression that a gene keeps when perturbed alone; None without such perturbations."""
    before = after = 0.0
    for perturbed, mean, control in zip(train.perturbed, train.mean, train.control, strict=True):
        if len(perturbed) == 1 and (gene := row.get(next(iter(perturbed)))) is not None:
            before, after = before + np.expm1(control[gene]), after + np.expm1(mean[gene])
    return after / before if before > 0 else None
