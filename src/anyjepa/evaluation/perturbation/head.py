"""The head that predicts perturbations in a frozen representation, and decodes them to expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.evaluation.perturbation.effects import Effects, Fit, Predict
from anyjepa.randomness import torch_seed

Represent = Callable[[np.ndarray], np.ndarray]
"""Cells (n, G), log1p, to their representation (n, D)."""


class HeadConfig(Config):
    """A vector a perturbation, damped where several act, and an interaction between them."""

    hidden: PositiveInt = Field(default=128, description="width of the interaction's hidden layer")
    interaction: NonNegativeFloat = Field(default=0.3, description="factor of the interaction")
    decoded: NonNegativeFloat = Field(default=20.0, description="weight of the squared error of decoded changes")
    ridge: PositiveFloat = Field(default=300.0, description="penalty of the ridge that the decoder begins as")
    steps: PositiveInt = Field(default=800, description="steps of AdamW on all training conditions at once")
    lr: PositiveFloat = Field(default=3e-3, description="learning rate")
    decay: NonNegativeFloat = Field(default=0.1, description="weight decay of the interaction")


class Head(nn.Module):
    """Sets of perturbations (C, P) to latent changes (C, D): additive, damped and mixed where several act."""

    def __init__(self, config: HeadConfig, perturbations: int, dim: int):
        super().__init__()
        self.config = config
        self.vectors = nn.Parameter(torch.zeros(perturbations, dim))
        self.damping = nn.Parameter(torch.zeros(dim))
        last = nn.Linear(config.hidden, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mixed = nn.Sequential(nn.Linear(dim, config.hidden), nn.GELU(), last)

    def forward(self, sets: Tensor) -> Tensor:
        total = sets @ self.vectors
        several = (sets.sum(1, keepdim=True) > 1).float()
        damped = total * (1 - several * torch.sigmoid(self.damping - 3))
        return damped + self.config.interaction * several * self.mixed(total)


def latent_head(represent: Represent, config: HeadConfig = HeadConfig(), seed: int = 0) -> Fit:
    """A method for the judge: `Head` on the mean representation of training conditions, with a linear decoder.

    Loss: squared error of the latent change, and `decoded` times that of the decoded change. The decoder begins as a
    ridge from standardised representations of training cells to their expression. No answer for a set with a
    perturbation that training does not have.
    """

    def fit(train: Effects) -> Predict:
        names = sorted({name for perturbed in train.perturbed for name in perturbed})
        changes, decoder = _latent(represent, train, config.ridge)
        with torch.random.fork_rng():
            torch.manual_seed(torch_seed(seed))
            head = Head(config, len(names), changes.shape[1])
        sets, latent = _sets(train.perturbed, names), torch.from_numpy(changes).float()
        expressed, weights = torch.from_numpy(train.change).float(), torch.from_numpy(decoder).float().requires_grad_()
        groups = [
            {"params": [head.vectors, head.damping, weights], "weight_decay": 0.0},
            {"params": list(head.mixed.parameters()), "weight_decay": config.decay},
        ]
        optimiser = torch.optim.AdamW(groups, lr=config.lr)
        with torch.enable_grad():
            for _ in range(config.steps):
                predicted = head(sets)
                lost = (predicted - latent).square().mean()
                lost = lost + config.decoded * (predicted @ weights - expressed).square().mean()
                optimiser.zero_grad()
                lost.backward()
                optimiser.step()

        @torch.no_grad()
        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            answers = np.full(control.shape, np.nan)
            known = [i for i, one in enumerate(perturbed) if one <= set(names)]
            if known:
                answers[known] = (head(_sets([perturbed[i] for i in known], names)) @ weights).numpy()
            return answers

        return predict

    return fit


def _latent(represent: Represent, train: Effects, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Changes of the standardised latent mean of each training condition (C, D), and the decoder's start (D, G)."""
    assert train.cells is not None, "a representation needs the cells"
    assert train.controls is not None, "a representation needs control cells"
    groups = [train.controls, *(train.cells(name)[0] for name in train.conditions)]
    z = [represent(cells).astype(np.float64) for cells in groups]
    everyone, expression = np.concatenate(z), np.concatenate(groups).astype(np.float64)
    spread = np.maximum(everyone.std(0), 1e-8)
    centred = (everyone - everyone.mean(0)) / spread
    gram = centred.T @ centred + ridge * np.eye(centred.shape[1])
    decoder = np.linalg.solve(gram, centred.T @ (expression - expression.mean(0)))
    return np.stack([(one.mean(0) - z[0].mean(0)) / spread for one in z[1:]]), decoder


def _sets(perturbed: Sequence[frozenset[str]], names: Sequence[str]) -> Tensor:
    """(C, P), 1 where a set has a perturbation."""
    return torch.tensor([[float(name in one) for name in names] for one in perturbed])
