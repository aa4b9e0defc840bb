"""Baselines for predictions of perturbations. A baseline predicts NaN where it does not apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict


def no_change(train: Effects) -> Predict:
    """Predict the control."""
    return lambda perturbed, control: np.zeros(control.shape)


def perturbed_mean(train: Effects) -> Predict:
    """Predict the mean over training conditions, equally weighted, whatever is perturbed."""
    mean = train.change.mean(0)
    return lambda perturbed, control: np.tile(mean, (len(perturbed), 1))


def matching_mean(train: Effects) -> Predict:
    """Predict the mean of the single effects, for combinations of genes that training also perturbs alone."""
    return _combined(train, lambda singles: singles.mean(0))


def same_elsewhere(train: Effects) -> Predict:
    """Predict the mean change due to the same set in other contexts, equally weighted: the matching mean of contexts.

    It is not in `BASELINES` because it makes no predictions unless contexts are held out.
    """
    changes_of: dict[frozenset[str], list[np.ndarray]] = {}
    for perturbed, change in zip(train.perturbed, train.change, strict=True):
        changes_of.setdefault(perturbed, []).append(change)
    return _answers(lambda genes: np.mean(changes_of[genes], axis=0) if genes in changes_of else None)


def additive(train: Effects, scale: float = 1.0) -> Predict:
    """Predict `scale` times the sum of the single effects, for combinations of genes that all occur alone."""
    return _combined(train, lambda singles: scale * singles.sum(0))


def gene_ridge(train: Effects, dimensions: int = 10, ridge: float = 0.1) -> Predict:
    """Ridge on embeddings of genes from the training changes, for unseen single genes of the panel.

    The changes Z of single perturbations in training, minus their mean b, are fitted as G W P'. G (genes, dimensions)
    holds the first left singular vectors of Z times its singular values, and P holds the rows of G for the perturbed
    genes. `ridge` penalises W on both sides (the linear model of Ahlmann-Eltze, Huber and Anders 2025). Genes outside
    the panel have no row and are left out; there are no predictions from fewer than two single perturbations.
    """
    row = {gene: i for i, gene in enumerate(train.genes)}
    singles = {gene: change for gene, change in _singles(train).items() if gene in row}
    if len(singles) < 2:
        return _answers(lambda genes: None)
    z = np.stack(list(singles.values()), 1)  # (G, S)
    b = z.mean(1)
    left, values, _ = np.linalg.svd(z - b[:, None], full_matrices=False)
    g = left[:, :dimensions] * values[:dimensions]
    p = g[[row[gene] for gene in singles]]  # (S, dimensions)
    penalty = ridge * np.eye(g.shape[1])
    w = np.linalg.solve(g.T @ g + penalty, g.T @ (z - b[:, None]) @ p) @ np.linalg.inv(p.T @ p + penalty)
    return _answers(_single(lambda gene: b + g @ w @ g[row[gene]] if gene in row else None))


def feature_ridge(features: Mapping[str, np.ndarray], ridge: float | None = None) -> Fit:
    """Ridge on features (F,) of the perturbed gene, for unseen single genes with features.

    Uses the kernel form; changes are centred, features are not. ridge: the penalty. None chooses among seven powers of
    ten around the mean squared length of the features, by the leave-one-out squared error on single perturbations.
    Single perturbations without features are left out; there are no predictions from fewer than two.
    Raises InputError if features differ in length or are not finite.
    """
    require_features(features)

    def fit(train: Effects) -> Predict:
        singles = {gene: change for gene, change in _singles(train).items() if gene in features}
        if len(singles) < 2:
            return _answers(lambda genes: None)
        changes = np.stack(list(singles.values()))  # (S, G)
        described = np.stack([features[gene] for gene in singles]).astype(float)  # (S, F)
        mean = changes.mean(0)
        weights = kernel_ridge(described, changes - mean, ridge)  # (F, G)
        return _answers(_single(lambda gene: mean + features[gene] @ weights if gene in features else None))

    return fit


def require_features(features: Mapping[str, np.ndarray]) -> None:
    """Raise InputError if the vectors of genes differ in length or are not finite."""
    if len({np.shape(vector) for vector in features.values()}) > 1:
        raise InputError("features of genes differ in length")
    if broken := [gene for gene, vector in features.items() if not np.isfinite(vector).all()]:
        raise InputError(f"features of gene '{broken[0]}' are not finite")


def kernel_ridge(features: np.ndarray, changes: np.ndarray, ridge: float | None = None) -> np.ndarray:
    """Fit weights (F, G) of centred changes (S, G) on uncentred features (S, F); ridge: see `feature_ridge`."""
    kernel = features @ features.T
    penalty = _best_ridge(kernel, changes) if ridge is None else ridge
    return features.T @ np.linalg.solve(kernel + penalty * np.eye(len(kernel)), changes)


def coexpression_ridge(train: Effects, ridge: float = 20.0) -> Predict:
    """`feature_ridge` on correlations of a gene with all others over control cells; no predictions without cells."""
    if train.controls is None or len(_singles(train)) < 2:
        return _answers(lambda genes: None)
    return feature_ridge(coexpression(train.controls, train.genes), ridge)(train)


def coexpression(controls: np.ndarray, genes: Sequence[str]) -> dict[str, np.ndarray]:
    """Pearson correlations (G,) of each gene over control cells (m, G); 0 with genes that are constant there."""
    centred = controls - controls.mean(0)
    length = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(length > 0, length, np.inf)
    return dict(zip(genes, unit.T @ unit, strict=True))


BASELINES: Mapping[str, Fit] = {
    "no change": no_change,
    "perturbed mean": perturbed_mean,
    "matching mean": matching_mean,
    "additive": additive,
    "0.7 x additive": partial(additive, scale=0.7),
    "ridge (G W P')": gene_ridge,
    "ridge on co-expression": coexpression_ridge,
}


def _singles(train: Effects) -> dict[str, np.ndarray]:
    """Change (G,) due to each gene that was perturbed alone, averaged over contexts."""
    changes_of: dict[str, list[np.ndarray]] = {}
    for perturbed, change in zip(train.perturbed, train.change, strict=True):
        if len(perturbed) == 1:
            changes_of.setdefault(next(iter(perturbed)), []).append(change)
    return {gene: np.mean(changes, axis=0) for gene, changes in changes_of.items()}


def _combined(train: Effects, combine: Callable[[np.ndarray], np.ndarray]) -> Predict:
    """Apply `combine` to the changes (parts, G) of single genes, for combinations of genes that all have one."""
    singles = _singles(train)

    def answer(genes: frozenset[str]) -> np.ndarray | None:
        if len(genes) < 2 or not genes <= singles.keys():
            return None
        return combine(np.stack([singles[gene] for gene in sorted(genes)]))

    return _answers(answer)


def _single(answer: Callable[[str], np.ndarray | None]) -> Callable[[frozenset[str]], np.ndarray | None]:
    return lambda genes: answer(next(iter(genes))) if len(genes) == 1 else None


def _answers(answer: Callable[[frozenset[str]], np.ndarray | None]) -> Predict:
    """Predict changes (T, G) from the answer for each set; None gives a row of NaN."""

    def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
        changes = np.full(control.shape, np.nan)
        for i, genes in enumerate(perturbed):
            if (change := answer(genes)) is not None:
                changes[i] = change
        return changes

    return predict


def _best_ridge(kernel: np.ndarray, changes: np.ndarray) -> float:
    """The penalty with the smallest leave-one-out error, in closed form: the residual over the diagonal.

    The mean is not refitted without the left-out perturbation; this affects all penalties alike.
    """
    values, vectors = np.linalg.eigh(kernel)
    rotated = vectors.T @ changes
    scale = float(np.diag(kernel).mean()) or 1.0

    def error(penalty: float) -> float:
        inverse = 1 / (np.maximum(values, 0) + penalty)
        diagonal = (vectors**2 * inverse).sum(1)
        return float((((vectors * inverse) @ rotated / diagonal[:, None]) ** 2).sum())

    return min((scale * 10.0**power for power in range(-3, 4)), key=error)
