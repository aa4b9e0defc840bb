"""What the context of a condition (its cell type, batch, donor) adds to the change by any perturbation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Contexts:
    """Kernel ridge on the control state: contexts whose controls are alike respond alike.

    represent: control means (n, G) to states (n, D). control: (C, G) of training conditions. rest: (C, G), what is left
    of their changes; the mean over the conditions of a context counts. The kernel is linear in states less their mean
    over contexts, the penalty its mean diagonal. Nothing is added unless that foretells training contexts that are left
    out better than the mean of the others does; so one or two contexts add nothing.
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
            told = np.stack([self._told(of, self.states[~of])[0] for of in others])
            self.help = bool(((left - told) ** 2).sum() < ((left - mean) ** 2).sum())

    def change(self, control: np.ndarray) -> np.ndarray:
        """(T, G), from control means (T, G)."""
        if not self.help:
            return np.zeros(control.shape)
        return self._told(np.ones(len(self.states), bool), self.represent(control).astype(float))

    def _told(self, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """(T, G) of asked states (T, D), from some of the contexts."""
        states, left = self.states[known], self.left[known]
        centre, mean = states.mean(0), left.mean(0)
        kernel = (states - centre) @ (states - centre).T
        penalty = max(np.trace(kernel) / len(kernel), 1e-12) * np.eye(len(kernel))
        return mean + (asked - centre) @ (states - centre).T @ np.linalg.solve(kernel + penalty, left - mean)
