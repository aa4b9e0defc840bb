"""How unusual an embedding is: its Mahalanobis distance from the training records, compared with validation records.

Lee et al. 2018, with one centre for all classes. The covariance is shrunk as in Ledoit & Wolf 2004, so that there may
be fewer records than dimensions.
"""

from __future__ import annotations

import numpy as np


def fit_whitening(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (D,) and whitening (D, D) of embeddings (N, D): (x - centre) @ whitening has covariance 1."""
    from sklearn.covariance import ledoit_wolf

    x = vectors.astype(float)
    centre, scale = x.mean(0), x.std(0)
    scale[scale <= 1e-7 * (np.abs(centre) + 1e-30)] = 1.0  # constant dimensions are not scaled up
    covariance = ledoit_wolf((x - centre) / scale, assume_centered=True)[0]
    values, axes = np.linalg.eigh(covariance)
    return centre, axes / np.sqrt(values.clip(1e-12)) / scale[:, None]


def distances(vectors: np.ndarray, centre: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """Distances (N,) of embeddings (N, D) from the centre."""
    return np.linalg.norm((vectors.astype(float) - centre) @ whitening, axis=1)


def typicality(distance: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Share of validation records at least as far from the centre, (N,), counting the record itself.

    A conformal p-value: a record from the same source has a value of at most a with a probability of at most a.
    """
    ranked = np.sort(validation)
    return (1 + len(ranked) - np.searchsorted(ranked, distance, side="left")) / (1 + len(ranked))
