"""A random network of regulators and genes, which the simulators of cells share."""

from __future__ import annotations

import numpy as np

from anyjepa.data.cells.screen import SCALE
from anyjepa.limits import MEMORY


def check_cells(cells: int, genes: int) -> None:
    """Raise InputError if a simulation of this many cells would take too much memory."""
    MEMORY.check(16 * cells * genes, f"a simulation of {cells} cells with {genes} genes")


class Network:
    """Effects of regulators on genes, and of the two cell states and of stress. The first genes are the regulators."""

    def __init__(self, genes: int, regulators: int, rng: np.random.Generator):
        self.weights = np.zeros((genes, regulators), np.float32)
        for gene in range(1, genes):
            candidates = min(gene, regulators)
            chosen = rng.choice(candidates, min(candidates, 1 + rng.poisson(2)), replace=False)
            self.weights[gene, chosen] = rng.normal(0, 1.1, len(chosen))
        self.baseline = (rng.normal(size=genes) - 0.5).astype(np.float32)
        self.stress = ((rng.random(genes) < 0.1) * rng.normal(size=genes)).astype(np.float32)
        self.states = ((rng.random((2, genes)) < 0.15) * rng.normal(0, 0.8, (2, genes))).astype(np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the genes."""
        genes, regulators = self.weights.shape
        return tuple(f"T{g}" if g < regulators else f"G{g}" for g in range(genes))

    def cells(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw cells: the activity of each regulator (number, K), and the states (number,)."""
        own = 0.35 * rng.standard_normal((number, self.weights.shape[1]), dtype=np.float32)
        return own, rng.integers(0, 2, number)

    def log_expression(self, own: np.ndarray, state: np.ndarray, down: np.ndarray, stress: np.ndarray) -> np.ndarray:
        """Log expression of N cells, (N, G) float32. down: (N, K) or (K,), 1 for a knockdown. stress: (N,) or (1,)."""
        regulators = own.shape[1]
        level = self.baseline + self.states[state] + stress[:, None] * self.stress
        level[:, :regulators] += own - 2 * down
        activity = np.zeros_like(own)
        for gene in range(regulators):  # in this order: a gene's regulators come before it
            level[:, gene] += activity[:, :gene] @ self.weights[gene, :gene]
            activity[:, gene] = np.tanh(0.8 * (level[:, gene] - self.baseline[gene]))
        level[:, regulators:] += activity @ self.weights[regulators:].T
        return level

    def expected(self, down: np.ndarray, stress: np.ndarray, cells: int, rng: np.random.Generator) -> np.ndarray:
        """Mean log1p expression of new cells without counting noise, (C, G). down: (C, K). stress: (C,)."""
        truth = np.empty((len(down), len(self.baseline)), np.float32)
        for number in range(len(down)):
            own, state = self.cells(cells, rng)
            truth[number] = noiseless(self.log_expression(own, state, down[number], stress[number, None])).mean(0)
        return truth


def counted(log: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Draw counts from log expression, (N, G) float32. depth: median counts of a cell."""
    library = rng.lognormal(np.log(depth), 0.35, len(log))
    return rng.poisson(library[:, None] * proportions(log.astype(np.float64))).astype(np.float32)


def noiseless(log: np.ndarray) -> np.ndarray:
    """log1p of the expected counts, scaled to 10,000 per cell, (N, G)."""
    return np.log(1 + SCALE * proportions(log))  # four times as fast as log1p


def proportions(log: np.ndarray) -> np.ndarray:
    """Softmax over genes, in place."""
    log -= log.max(1, keepdims=True)
    np.exp(log, out=log)
    log /= log.sum(1, keepdims=True)
    return log
