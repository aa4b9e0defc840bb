"""Representations of cells that a head can stand on, and how much of the expression they still hold."""

from __future__ import annotations

import numpy as np
import torch

from anyjepa.evaluation.perturbation.effects import Effects
from anyjepa.evaluation.perturbation.head import Represent
from anyjepa.evaluation.perturbation.metrics import pearson
from anyjepa.nn.encoder import Encoder

BATCH = 512  # cells encoded at a time
FITTED = 4000  # cells at most that principal components are fitted to


def all_tokens(encoder: Encoder) -> Represent:
    """Of each cell all tokens in a row, (n, tokens * D): their mean would keep what is common to them only."""

    @torch.inference_mode()
    def represent(cells: np.ndarray) -> np.ndarray:
        device, was_training = next(encoder.parameters()).device, encoder.training
        encoder.eval()
        parts = torch.as_tensor(cells, dtype=torch.float32)[:, None].split(BATCH)
        found = [encoder.features(part.to(device))[1].flatten(1).float().cpu() for part in parts]
        encoder.train(was_training)
        return torch.cat(found).numpy()

    return represent


def components(train: Effects, count: int, represent: Represent = lambda cells: cells) -> Represent:
    """The first principal components of a representation, here of expression itself.

    They are fitted to training cells, controls among them, evenly thinned to 4,000 at most.
    """
    everyone = _everyone(train)
    z = represent(everyone[:: -(-len(everyone) // FITTED)]).astype(np.float64)
    mean = z.mean(0)
    _, _, axes = np.linalg.svd(z - mean, full_matrices=False)
    kept = axes[:count].T
    return lambda cells: (represent(cells) - mean) @ kept


def decoder(represent: Represent, train: Effects, ridge: float) -> Represent:
    """From representations (n, D) to expression (n, G): ridge on what is standardised over training cells."""
    everyone = _everyone(train).astype(np.float64)
    z = represent(everyone).astype(np.float64)
    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-8)
    z = (z - mean) / spread
    middle = everyone.mean(0)
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (everyone - middle))
    return lambda latent: (latent - mean) / spread @ weights + middle


def sufficiency(represent: Represent, effects: Effects, ridge: float) -> float:
    """Pearson delta, mean over test conditions, of the measured mean representation decoded to expression.

    No prediction: it sees the tested cells, and says what no head on this representation can exceed in this decoding.
    """
    train, test = effects.train, effects.held_out
    assert train.controls is not None, "a representation needs control cells"
    assert test.cells is not None, "the measured representation needs the cells"
    read = decoder(represent, train, ridge)
    control = read(represent(train.controls)).mean(0)
    decoded = [read(represent(test.cells(name)[0])).mean(0) - control for name in test.conditions]
    return float(np.nanmean(pearson(np.stack(decoded), test.change)))


def _everyone(train: Effects) -> np.ndarray:
    """Control cells, then those of all training conditions."""
    assert train.cells is not None, "a representation needs the cells"
    assert train.controls is not None, "a representation needs control cells"
    return np.concatenate([train.controls, *(train.cells(name)[0] for name in train.conditions)])
