"""What the context of a condition (its cell type, batch, donor) adds to the change by any perturbation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Contexts:
    """Kernel ridge on the control state: contexts whose controls are alike respond alike.

    represent: control means (n, G) to states (n, D). control: (C, G) of training conditions. rest: (C, G), what is left
    of their changes; the mean over the conditions of a context counts. The kernel is linear in states less their mean
    over contexts, the penalty its mean diagonal. One context adds nothing.
    """

    def __init__(self, represent: Callable[[np.ndarray], np.ndarray], control: np.ndarray, rest: np.ndarray):
        means, own = np.unique(control, axis=0, return_inverse=True)
        self.represent, self.several = represent, len(means) > 1
        if self.several:
            states = represent(means).astype(float)
            self.mean = states.mean(0)
            states -= self.mean
            member = own.ravel() == np.arange(len(means))[:, None]  # (contexts, C)
            kernel = states @ states.T
            penalty = np.trace(kernel) / len(kernel) * np.eye(len(kernel))
            left = member @ rest / member.sum(1, keepdims=True)
            self.weights = states.T @ np.linalg.solve(kernel + penalty, left)  # (D, G)

    def change(self, control: np.ndarray) -> np.ndarray:
        """(T, G), from control means (T, G)."""
        if not self.several:
            return np.zeros(control.shape)
        return (self.represent(control).astype(float) - self.mean) @ self.weights
