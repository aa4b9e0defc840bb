"""Representations of cells that heads are fitted to, and how much of the expression they retain."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import torch
from sklearn.decomposition import PCA

from anyjepa.evaluation.finite import check_finite
from anyjepa.nn.encoder import Encoder
from anyjepa.perturbation.methods.head import Represent
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.perturbation.scoring.metrics import pearson

BATCH = 512  # cells encoded at a time


def all_tokens(encoder: Encoder) -> Represent:
    """Concatenate all tokens of each cell, (n, tokens * D); their mean would keep only what they share."""

    @torch.inference_mode()
    def represent(cells: np.ndarray) -> np.ndarray:
        device, was_training = next(encoder.parameters()).device, encoder.training
        encoder.eval()
        parts = torch.as_tensor(cells, dtype=torch.float32)[:, None].split(BATCH)
        encoded = [encoder.features(part.to(device))[1].flatten(1).float().cpu() for part in parts]
        encoder.train(was_training)
        tokens = torch.cat(encoded)
        check_finite(tokens, [f"cell {row}" for row in range(len(tokens))], encoder)
        return tokens.numpy()

    return represent


def expression(train: Effects) -> Represent:
    """Expression itself as the representation."""
    return _same


def components(train: Effects, count: int, represent: Represent | None = None) -> Represent:
    """The first principal components of a representation; None: of expression itself.

    They are fitted to training cells, including controls, evenly thinned to at most 4,000.
    """
    represent = represent or _same
    z = represent(_thinned(_everyone(train), 4000))
    fitted = PCA(min(count, *z.shape), svd_solver="randomized", random_state=0).fit(z)
    return _once(lambda cells: fitted.transform(represent(cells)))


def shared(of: Callable[[Effects], Represent]) -> Callable[[Effects], Represent]:
    """Cache a representation by training conditions, so that the heads of all seeds share it."""
    made: dict[tuple[str, ...], Represent] = {}

    def once(train: Effects) -> Represent:
        if train.conditions not in made:
            made[train.conditions] = of(train)
        return made[train.conditions]

    return once


def decoder(represent: Represent, train: Effects, ridge: float) -> Represent:
    """Decode representations (n, D), standardised over training cells, to expression (n, G) with a ridge.

    It is fitted to training cells, including controls, evenly thinned to at most 10,000.
    """
    cells = _thinned(_everyone(train), 10_000).astype(np.float64)
    z = represent(cells).astype(np.float64)
    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-8)
    z = (z - mean) / spread
    middle = cells.mean(0)
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (cells - middle))
    return lambda latent: (latent - mean) / spread @ weights + middle


def sufficiency(represent: Represent, effects: Effects, ridge: float) -> float:
    """Pearson delta of the decoded measured mean representation, averaged over test conditions.

    This is not a prediction, because it uses the test cells: no head on this representation can exceed it with this
    decoder.
    """
    train, test = effects.train, effects.held_out
    assert train.controls is not None, "a representation needs control cells"
    assert test.cells is not None, "the measured representation needs the cells"
    read = decoder(represent, train, ridge)
    control = read(represent(train.controls)).mean(0)
    decoded = [read(represent(test.cells(name)[0])).mean(0) - control for name in test.conditions]
    return float(np.nanmean(pearson(np.stack(decoded), test.change)))


def _same(cells: np.ndarray) -> np.ndarray:
    return cells


def _everyone(train: Effects) -> np.ndarray:
    """Control cells, followed by the cells of all training conditions."""
    assert train.cells is not None, "a representation needs the cells"
    assert train.controls is not None, "a representation needs control cells"
    return np.concatenate([train.controls, *(train.cells(name)[0] for name in train.conditions)])


def _thinned(cells: np.ndarray, most: int) -> np.ndarray:
    return cells[:: -(-len(cells) // most)]


def _once(represent: Represent) -> Represent:
    """Cache a representation by cells."""
    cache: dict[bytes, np.ndarray] = {}

    def once(cells: np.ndarray) -> np.ndarray:
        key = blake2b(cells.tobytes(), digest_size=16).digest()
        if key not in cache:
            cache[key] = represent(cells)
        return cache[key]

    return once
