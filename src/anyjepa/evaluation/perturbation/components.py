"""Principal components of training cells: the representation that any other stands beside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyjepa.errors import InputError
from anyjepa.evaluation.perturbation.effects import Effects


def principal_components(train: Effects, count: int = 50) -> Callable[[np.ndarray], np.ndarray]:
    """Cells (n, G) to (n, count), fitted to training cells and controls; fewer where the panel has fewer genes.

    To be fitted anew for every split: `lambda train: latent_head(principal_components(train))(train)` is a method.
    Raises InputError without cells.
    """
    if train.cells is None or train.controls is None:
        raise InputError("principal components need the cells of each condition and control cells")
    cells = np.concatenate([train.controls, *(train.cells(name)[0] for name in train.conditions)])
    mean = cells.mean(0, dtype=float)
    centred = cells - mean
    if len(cells) < centred.shape[1]:  # the smaller of two products
        values, vectors = np.linalg.eigh(centred @ centred.T)
        axes = centred.T @ (vectors / np.sqrt(np.maximum(values, 1e-12)))
    else:
        _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :count]
    return lambda cells: (cells - mean) @ axes
