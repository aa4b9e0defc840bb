"""Methods that use a pretrained model: a head on its tokens, the same head on controls, and its own predictor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa.data.cells.conditions import Condition
from anyjepa.data.cells.encoding import PerturbationEncoding
from anyjepa.errors import InputError
from anyjepa.evaluation.controls import random_encoder
from anyjepa.nn.encoder import Encoder
from anyjepa.perturbation.methods.head import HeadConfig, Represent, latent_head
from anyjepa.perturbation.methods.representations import (
    BATCH,
    all_tokens,
    components,
    decoder,
    expression,
    shared,
    sufficiency,
)
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict


def heads(
    count: int,
    config: HeadConfig,
    seeds: int,
    encoder: Encoder | None = None,
    weights: str = "",
    features: Mapping[str, np.ndarray] | None = None,
    raw: bool = True,
) -> dict[str, list[Fit]]:
    """The same head on several representations, by name, one fit per seed.

    The representations are `count` principal components of the model's tokens (`weights` names them), of expression,
    and of the tokens of a network with random weights, and expression itself. Without an encoder, there are no tokens.
    features: of genes, for perturbations that training lacks. raw: whether to use expression itself, whose decoder has
    a number for each pair of genes.
    """
    pca: dict[str, Callable[[Effects], Represent]] = {f"head on PCA ({count})": partial(components, count=count)}
    representations = pca
    if encoder is not None:
        tokens = partial(components, count=count, represent=all_tokens(encoder))
        untrained = partial(components, count=count, represent=all_tokens(random_encoder(encoder, 0)))
        representations = {f"head on pretrained ({weights})": tokens, **pca, "head on random weights": untrained}
    if raw:
        representations["head on raw expression"] = expression
    return {
        name: [_head(of, config, seed, features) for of in [shared(each)] for seed in range(seeds)]
        for name, each in representations.items()
    }


def heads_after(
    train: Effects,
    count: int,
    config: HeadConfig,
    seeds: int,
    features: Mapping[str, np.ndarray] | None = None,
) -> list[Fit]:
    """Heads on principal components of expression, one per seed.

    All use the components of `train`, even when they are fitted to parts of it.
    """
    represent = components(train, count)
    return [latent_head(represent, config, seed, features) for seed in range(seeds)]


def decoded_scores(
    encoder: Encoder, weights: str, count: int, ridge: float, effects: Sequence[Effects]
) -> dict[str, float]:
    """`sufficiency` of the model's tokens, of PCA and of random weights: the mean over splits, by name."""
    representations: dict[str, Callable[[Effects], Represent]] = {
        f"all tokens of the model ({weights})": lambda train: all_tokens(encoder),
        f"PCA ({count})": partial(components, count=count),
        "all tokens of random weights": lambda train: all_tokens(random_encoder(encoder, 0)),
    }
    return {
        name: float(np.mean([sufficiency(of(part.train), part, ridge) for part in effects]))
        for name, of in representations.items()
    }


def own_predictor(
    encoder: Encoder,
    predictor: nn.Module,
    encoding: PerturbationEncoding,
    conditions: Mapping[frozenset[str], Condition],
) -> Fit:
    """The model's own predictor as a method. Only a ridge from tokens to expression is fitted.

    The change is the mean over control cells of the decoded predicted tokens minus that of their own decoded tokens.
    predictor: maps tokens (B, N, D), condition and valid to tokens. conditions: conditions by the set of perturbations
    that the method is called with. There is no prediction for a perturbation that `encoding` does not contain.
    """

    def fit(train: Effects) -> Predict:
        represent = all_tokens(encoder)
        read = decoder(represent, train, HeadConfig().ridge)
        assert train.controls is not None, "a predictor starts from control cells"
        before = represent(train.controls)
        tokens = torch.from_numpy(before).unflatten(1, (-1, encoder.dim))
        device = next(encoder.parameters()).device
        predictor.to(device).eval()

        @torch.inference_mode()
        def after(perturbed: frozenset[str]) -> np.ndarray:
            condition, valid = map(torch.from_numpy, encoding.encode([conditions[perturbed]]))
            moved: list[Tensor] = []
            for part in tokens.split(BATCH):
                repeated = (one.expand(len(part), *one.shape[1:]).to(device) for one in (condition, valid))
                moved.append(predictor(part.to(device), *repeated).flatten(1).cpu())
            return torch.cat(moved).numpy()

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            changes = np.full(control.shape, np.nan)
            for place, one in enumerate(perturbed):
                try:
                    changes[place] = (read(after(one)) - read(before)).mean(0)
                except InputError:
                    continue
            return changes

        return predict

    return fit


def _head(
    of: Callable[[Effects], Represent], config: HeadConfig, seed: int, features: Mapping[str, np.ndarray] | None
) -> Fit:
    def fit(train: Effects) -> Predict:
        return latent_head(of(train), config, seed, features)(train)

    return fit
