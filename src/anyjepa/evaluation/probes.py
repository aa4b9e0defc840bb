"""Probes on frozen features (N, D): logistic regression and nearest neighbours. Both give scores (N_test, C)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt

from anyjepa.config import Config
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.splits import Split
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head, HeadConfig

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class LinearProbe(Config):
    """Logistic regression on standardised features: softmax for exclusive classes, else one sigmoid a class."""

    strengths: tuple[PositiveFloat, ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        min_length=1,
        description="inverse L2 penalties (scikit-learn's C) to choose from on the validation part",
    )
    balanced: bool = Field(
        default=False, description="weigh classes (or positives and negatives) as if equally frequent"
    )


class KnnProbe(Config):
    """Votes of the most similar training records (Wu et al. 2018, section 3.4)."""

    neighbours: PositiveInt = Field(default=20, description="voters; all training records if there are fewer")
    temperature: PositiveFloat = Field(
        default=0.07, description="a voter at cosine similarity s weighs exp(s / temperature)"
    )


class Probed(NamedTuple):
    """Scores of a probe on the test part (N_test, C) and the validation part, and what it chose on the latter.

    head: what classifies an encoder's tokens, where there is such a thing; encoder: where it was trained too.
    """

    scores: np.ndarray
    validation: np.ndarray
    chosen: dict[str, float]
    head: Head | None = None
    encoder: Encoder | None = None


def linear_probe(x: np.ndarray, values: np.ndarray, split: Split, exclusive: bool, config: LinearProbe) -> Probed:
    """x: (N, D), values: (N, C) -> class probabilities of the test part."""
    z, scale = standardised(x, split.train)
    weights, best, chosen = None, (-np.inf, -np.inf), config.strengths[0]
    for strength in sorted(config.strengths) if len(config.strengths) > 1 else ():
        weights = fit_logistic(z[split.train], values[split.train], strength, exclusive, config.balanced, weights)
        quality = selection_score(values[split.validation], probabilities(z[split.validation], weights, exclusive))
        if quality > best:
            best, chosen = quality, strength
    weights = fit_logistic(z[split.train], values[split.train], chosen, exclusive, config.balanced)
    validation = probabilities(z[split.validation], weights, exclusive)
    scores = probabilities(z[split.test], weights, exclusive)
    return Probed(scores, validation, {"strength": chosen}, _as_head(weights, *scale))


def _as_head(weights: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Head:
    """The probe (D + 1, C) of standardised features as a linear head on the mean of patch tokens."""
    linear = (weights[:-1] / std[:, None]).T  # (C, D)
    tensors = {"read.weight": linear, "read.bias": weights[-1] - linear @ mean}
    with torch.device("meta"):  # nothing to initialise
        head = Head(HeadConfig(kind="mean", bias=True), linear.shape[1], 1, len(linear))
    head.load_state_dict({name: torch.as_tensor(x, dtype=torch.float32) for name, x in tensors.items()}, assign=True)
    return head.eval()


def knn_probe(x: np.ndarray, values: np.ndarray, split: Split, config: KnnProbe) -> Probed:
    """x: (N, D), values: (N, C) -> weighted share of votes for each class, by cosine of standardised features."""
    z = standardised(x, split.train)[0].astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True).clip(1e-12)
    count = min(config.neighbours, len(split.train))
    bank, voted = z[split.train], values[split.train]

    def votes(rows: np.ndarray) -> np.ndarray:
        similarity = z[rows] @ bank.T  # (n, N_train)
        near = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        votes = np.exp((np.take_along_axis(similarity, near, 1) - 1) / config.temperature)  # (n, count)
        return np.einsum("nk,nkc->nc", votes, voted[near]) / votes.sum(1, keepdims=True)

    scores, validation = (
        np.concatenate([votes(rows) for rows in np.array_split(part, max(1, len(part) // 1024))])
        for part in (split.test, split.validation)
    )
    return Probed(scores, validation, {"neighbours": count})


def standardised(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """x (N, D) in float64 with mean 0 and deviation 1 over `rows`, and that mean and deviation (D,).

    Dimensions constant there become 0: their deviation counts as infinite.
    """
    x = x.astype(np.float64)
    mean, std = x[rows].mean(0), x[rows].std(0)
    std = np.where(std > 1e-7 * (np.abs(mean) + 1e-30), std, np.inf)
    return (x - mean) / std, (mean, std)


def selection_score(values: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """What a validation part says of probabilities (N, C), higher is better: macro AUROC, then minus the log loss.

    Small validation parts tie often, and the log loss decides; also where no class has an AUROC.
    """
    area = float(macro(auroc(values, scores)))
    log_loss = -float(np.log(np.where(values == 1, scores, 1 - scores).clip(1e-12)).mean())
    return (area if np.isfinite(area) else -np.inf), -log_loss


def fit_logistic(
    x: np.ndarray,
    values: np.ndarray,
    strength: float,
    exclusive: bool,
    balanced: bool = False,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Weights (D + 1, C), bias last, of L2-penalised logistic regression by L-BFGS; the bias is not penalised.

    x: (N, D), values: (N, C); strength: scikit-learn's C; start: weights to begin from.
    """
    from scipy.optimize import minimize

    (n, dim), classes = x.shape, values.shape[1]
    weigh = _balance(values, exclusive) if balanced else np.ones((1, 1))  # (N, C), (N, 1) or (1, 1)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(dim + 1, classes)
        z = x @ w[:-1] + w[-1]  # (N, C)
        if exclusive:
            log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
            total, slope = -(weigh * values * log_p).sum(), weigh * (np.exp(log_p) - values)
        else:
            total, slope = (weigh * (np.logaddexp(0, z) - values * z)).sum(), weigh * (_sigmoid(z) - values)
        penalty = (w[:-1] ** 2).sum() / (2 * strength)
        gradient = np.vstack([x.T @ slope + w[:-1] / strength, slope.sum(0)])
        return (total + penalty) / n, gradient.ravel() / n

    flat = np.zeros((dim + 1) * classes) if start is None else start.ravel()
    options = {"maxiter": 1000, "gtol": 1e-4, "ftol": 1e-8}
    with _blas().limit(limits=1 if n * dim * classes < 2**24 else None, user_api="blas"):
        found = minimize(loss, flat, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(dim + 1, classes)


@cache
def _blas() -> ThreadpoolController:
    """BLAS's threads. On small products they wait for each other: 30 ms a step instead of 2 on two busy cores."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def probabilities(x: np.ndarray, weights: np.ndarray, exclusive: bool) -> np.ndarray:
    """(N, C) probabilities from features x (N, D) and weights (D + 1, C)."""
    z = x @ weights[:-1] + weights[-1]
    return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True)) if exclusive else _sigmoid(z)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


def _balance(values: np.ndarray, exclusive: bool) -> np.ndarray:
    """Loss weights: (N, 1) for exclusive classes, else (N, C); an absent class or side weighs nothing."""
    n, positive = len(values), values.sum(0)
    if exclusive:
        return (values * n / (len(positive) * positive.clip(1))).sum(1, keepdims=True)
    return np.where(values == 1, n / (2 * positive.clip(1)), n / (2 * (n - positive).clip(1)))
