"""Probes on frozen features (N, D): logistic regression and nearest neighbours. Both return scores (N_test, C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt

from anyjepa.config import Config
from anyjepa.evaluation.logistic import fit_logistic, probabilities
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.nearest import most_similar, unit
from anyjepa.evaluation.splits import Split
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import WIDTHS, Head, HeadConfig, Summary, TokenHead
from anyjepa.progress import tell


class LinearProbe(Config):
    """Logistic regression on standardised features: softmax for exclusive classes, else one sigmoid per class."""

    strengths: tuple[PositiveFloat, ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        min_length=1,
        description="inverse L2 penalties (scikit-learn's C), of which the validation part chooses one",
    )
    head: Summary = Field(
        default="mean",
        description="what it reads: the mean of a record's patch tokens, or also their autocorrelation in time, which "
        "knows of rhythms (dynamics), or the tokens in the middle of a window around an event (middle)",
    )
    balanced: bool = Field(default=False, description="weight classes (or positives and negatives) equally")
    refit: bool = Field(
        default=False, description="after choosing the penalty, train on the training and validation parts together"
    )


class KnnProbe(Config):
    """Votes of the most similar training records (Wu et al. 2018, section 3.4)."""

    neighbours: PositiveInt = Field(default=20, description="number of voters; at most all training records")
    temperature: PositiveFloat = Field(
        default=0.07, description="a voter with cosine similarity s has the weight exp(s / temperature)"
    )


class Probed(NamedTuple):
    """Scores of a probe on the test part (N_test, C) and on the validation part, and its settings chosen on the latter.

    head: the head on an encoder's tokens, if there is one. encoder: the fine-tuned encoder, if it was trained too.
    measured: further metrics of the test part by name and class.
    """

    scores: np.ndarray
    validation: np.ndarray
    chosen: dict[str, float]
    head: Head | None = None
    encoder: Encoder | None = None
    spread: float | None = None  # of the features, see `spread`
    measured: Mapping[str, Mapping[str, float]] = {}


def linear_probe(
    x: np.ndarray,
    values: np.ndarray,
    split: Split,
    exclusive: bool,
    config: LinearProbe,
    summary: Summary = "mean",
) -> Probed:
    """Class probabilities of the test part. x: features (N, F). values: labels (N, C).

    summary: what the features are of an encoder's tokens, for the head.
    """
    z, scale = standardised(x, split.train)
    train, truth = z[split.train], values[split.train]
    fits: dict[float, np.ndarray] = {}
    weights = None
    for place, strength in enumerate(sorted(config.strengths), 1):
        tell(f"penalty {place} of {len(config.strengths)}")
        weights = fits[strength] = fit_logistic(train, truth, strength, exclusive, config.balanced, weights)
    chosen = config.strengths[0]
    if len(fits) > 1:
        unseen, truth = z[split.validation], values[split.validation]
        chosen = max(
            fits, key=lambda strength: selection_score(truth, probabilities(unseen, fits[strength], exclusive))
        )
    weights = fits[chosen]
    validation = probabilities(z[split.validation], weights, exclusive)
    if config.refit:
        both = np.concatenate([split.train, split.validation])
        weights = fit_logistic(z[both], values[both], chosen, exclusive, config.balanced, weights)
    scores = probabilities(z[split.test], weights, exclusive)
    head = _as_head(summary, weights, *scale)
    means = x[:, : x.shape[1] // WIDTHS[summary]]
    return Probed(scores, validation, {"strength": chosen}, head, spread=spread(means, split.train))


def _as_head(summary: Summary, weights: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Head:
    """Convert a probe (F + 1, C) of standardised features to a linear head on patch tokens."""
    linear = (weights[:-1] / std[:, None]).T  # (C, D)
    tensors = {"read.weight": linear, "read.bias": weights[-1] - linear @ mean}
    with torch.device("meta"):  # skips the initialisation
        head = TokenHead(HeadConfig(kind=summary, bias=True), linear.shape[1] // WIDTHS[summary], 1, len(linear))
    head.load_state_dict({name: torch.as_tensor(x, dtype=torch.float32) for name, x in tensors.items()}, assign=True)
    return head.eval()


def knn_probe(x: np.ndarray, values: np.ndarray, split: Split, config: KnnProbe) -> Probed:
    """Weighted share of votes for each class, by cosine of standardised features. x: (N, D), values: (N, C)."""
    z = unit(standardised(x, split.train)[0])
    count = min(config.neighbours, len(split.train))
    bank, voted = z[split.train], values[split.train]

    def votes(rows: np.ndarray) -> np.ndarray:
        near, similarity = most_similar(z[rows], bank, count)
        votes = np.exp((similarity - similarity[:, :1]) / config.temperature)  # (n, count), 1 for the nearest
        total = sum(votes[:, [place]] * voted[near[:, place]] for place in range(count))
        return total / votes.sum(1, keepdims=True)

    scores, validation = votes(split.test), votes(split.validation)
    return Probed(scores, validation, {"neighbours": count}, spread=spread(x, split.train))


def standardised(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Standardise x (N, D) to mean 0 and standard deviation 1 over `rows`, in float64, and return both moments (D,).

    Dimensions that are constant over `rows` become 0: their standard deviation is set to infinity.
    """
    x = x.astype(np.float64)
    mean, std = x[rows].mean(0), x[rows].std(0)
    std = np.where(std > 1e-7 * (np.abs(mean) + 1e-30), std, np.inf)
    return (x - mean) / std, (mean, std)


def spread(x: np.ndarray, rows: np.ndarray) -> float:
    """Deviation of the features x (N, D) over `rows` as a share of their length, both as root mean squares.

    Standardising removes it: features that differ by rounding noise only are scaled to deviation 1 as well.
    """
    part = x[rows].astype(np.float64)
    length = np.sqrt(np.square(part).mean())
    return float(np.sqrt(np.square(part - part.mean(0)).mean()) / max(length, 1e-300))


def selection_score(values: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Quality of probabilities (N, C) on a validation part, higher is better: macro AUROC, then minus the log loss.

    The log loss decides ties, which are common in small validation parts, and where no class has an AUROC.
    """
    area = float(macro(auroc(values, scores)))
    log_loss = -float(np.log(np.where(values == 1, scores, 1 - scores).clip(1e-12)).mean())
    return (area if np.isfinite(area) else -np.inf), -log_loss
