"""The head that predicts perturbations in a frozen representation and decodes them to expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.perturbation.methods.unseen import Contexts, Unseen
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.randomness import torch_seed

Represent = Callable[[np.ndarray], np.ndarray]
"""Maps cells (n, G), log1p, to their representation (n, D)."""


class HeadConfig(Config):
    """A vector per perturbation; combinations are damped and have an interaction term."""

    hidden: PositiveInt = Field(default=128, description="width of the interaction's hidden layer")
    interaction: NonNegativeFloat = Field(default=0.3, description="factor of the interaction")
    decoded: NonNegativeFloat = Field(default=20.0, description="weight of the squared error of decoded changes")
    ridge: PositiveFloat = Field(default=300.0, description="penalty of the ridge that initialises the decoder")
    steps: PositiveInt = Field(default=800, description="steps of AdamW on all training conditions at once")
    lr: PositiveFloat = Field(default=3e-3, description="learning rate")
    decay: NonNegativeFloat = Field(default=0.1, description="weight decay of the interaction")


class Head(nn.Module):
    """Map sets of perturbations (C, P) to latent changes (C, D); combinations are added, damped and mixed."""

    def __init__(self, config: HeadConfig, perturbations: int, dim: int):
        super().__init__()
        self.config = config
        self.vectors = nn.Parameter(torch.zeros(perturbations, dim))
        self.damping = nn.Parameter(torch.zeros(dim))
        last = nn.Linear(config.hidden, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mixed = nn.Sequential(nn.Linear(dim, config.hidden), nn.GELU(), last)

    def forward(self, sets: Tensor, vectors: Tensor | None = None) -> Tensor:
        """vectors: (P, D), used instead of the learned ones."""
        total = sets @ (self.vectors if vectors is None else vectors)
        several = (sets.sum(1, keepdim=True) > 1).float()
        damped = total * (1 - several * torch.sigmoid(self.damping - 3))
        return damped + self.config.interaction * several * self.mixed(total)


def latent_head(
    represent: Represent,
    config: HeadConfig = HeadConfig(),
    seed: int = 0,
    features: Mapping[str, np.ndarray] | None = None,
) -> Fit:
    """A method: `Head` on the mean representation of training conditions, with a linear decoder.

    The loss is the squared error of the latent change plus `decoded` times that of the decoded change. The decoder is
    initialised with a ridge from standardised representations of training cells to their expression. The vector of a
    perturbation that training lacks is the mean of the others plus the prediction of `Unseen` for its gene: from the
    slope of training cells along the gene, and from `features` of genes (F,), if passed. A set with a gene that has
    neither gets no prediction. Without combinations in training, a combination is the sum of its parts. If training
    has several contexts, each with its own controls, `Contexts` adds what the control state predicts.
    """

    def fit(train: Effects) -> Predict:
        names = sorted({name for perturbed in train.perturbed for name in perturbed})
        start = _latent(represent, train, config.ridge)
        sets = _sets(train.perturbed, names)
        head, decoder = _train(sets, train, start, config, seed)
        if not any(len(one) > 1 for one in train.perturbed):  # nothing to learn damping from: plain sums
            torch.nn.init.constant_(head.damping, -torch.inf)
        learned = head.vectors.detach()
        decoded = (learned @ decoder).numpy().astype(float)
        unseen = Unseen(train, names, decoded, start.expression, start.latent, start.decoder, features)
        with torch.no_grad():
            contexts = Contexts(represent, train.control, train.change - (head(sets) @ decoder).numpy())

        @torch.no_grad()
        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            others = sorted({name for one in perturbed for name in one} - set(names))
            new = {name: change for name in others if (change := unseen.change(name)) is not None}
            every = [*names, *new]
            vectors = torch.cat([learned, learned.mean(0).expand(len(new), -1)])
            changes = np.full(control.shape, np.nan)
            context = contexts.change(control)
            rows = [i for i, one in enumerate(perturbed) if one <= set(every)]
            if rows:
                changes[rows] = (head(_sets([perturbed[i] for i in rows], every), vectors) @ decoder).numpy()
                changes[rows] += context[rows]
            for i in rows:
                these = sorted(perturbed[i] & new.keys())
                changes[i] += sum((new[name] for name in these), np.zeros(control.shape[1]))
                for gene, change in filter(None, (unseen.own_change(name, control[i]) for name in these)):
                    changes[i, gene] = change
            return changes

        return predict

    return fit


def _train(sets: Tensor, train: Effects, start: _Start, config: HeadConfig, seed: int) -> tuple[Head, Tensor]:
    """Train the head and its decoder (D, G)."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed))
        head = Head(config, sets.shape[1], start.changes.shape[1])
    latent, expressed = torch.from_numpy(start.changes).float(), torch.from_numpy(train.change).float()
    decoder = torch.from_numpy(start.decoder).float().requires_grad_()
    groups = [
        {"params": [head.vectors, head.damping, decoder], "weight_decay": 0.0},
        {"params": list(head.mixed.parameters()), "weight_decay": config.decay},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.lr)
    with torch.enable_grad():
        for _ in range(config.steps):
            predicted = head(sets)
            lost = (predicted - latent).square().mean()
            lost = lost + config.decoded * (predicted @ decoder - expressed).square().mean()
            optimiser.zero_grad()
            lost.backward()
            optimiser.step()
    return head, decoder.detach()


class _Start(NamedTuple):
    """Training conditions in a representation that is standardised over their cells."""

    changes: np.ndarray  # (C, D) changes of the mean
    decoder: np.ndarray  # (D, G)
    latent: np.ndarray  # (n, D) cells and controls, minus the mean of each condition
    expression: np.ndarray  # (n, G) the same for their expression


def _latent(represent: Represent, train: Effects, ridge: float) -> _Start:
    assert train.cells is not None, "a representation needs the cells"
    assert train.controls is not None, "a representation needs control cells"
    pairs = [train.cells(name) for name in train.conditions]
    means, own = np.unique(train.control, axis=0, return_inverse=True)  # a context is identified by its control
    own = own.ravel().tolist()
    controls = [train.controls] if len(means) == 1 else [pairs[own.index(k)][1] for k in range(len(means))]
    groups = [*controls, *(cells for cells, _ in pairs)]
    z = [represent(cells).astype(np.float64) for cells in groups]
    everyone, expression = np.concatenate(z), np.concatenate(groups).astype(np.float64)
    spread = np.maximum(everyone.std(0), 1e-8)
    centred = (everyone - everyone.mean(0)) / spread
    gram = centred.T @ centred + ridge * np.eye(centred.shape[1])
    decoder = np.linalg.solve(gram, centred.T @ (expression - expression.mean(0)))
    of = [one.mean(0) for one in z]
    changes = np.stack([(mean - of[k]) / spread for mean, k in zip(of[len(controls) :], own, strict=True)])
    latent = np.concatenate([one - mean for one, mean in zip(z, of, strict=True)]) / spread
    within = np.concatenate([one - one.mean(0, dtype=float) for one in groups])
    return _Start(changes, decoder, latent, within)


def _sets(perturbed: Sequence[frozenset[str]], names: Sequence[str]) -> Tensor:
    """(C, P), 1 where a set contains a perturbation."""
    return torch.tensor([[float(name in one) for name in names] for one in perturbed])
