"""Nearest neighbours of features."""

from __future__ import annotations

import numpy as np


def nearest(features: np.ndarray, queries: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, K) of the most similar features in descending order, and their cosines (Q, K), without the query itself.

    count: K, or fewer if `among` has fewer other rows.

    features: (N, D), standardised by the rows `among` before they are compared.
    """
    reference = features[among].astype(np.float64)
    z = (features - reference.mean(0)) / np.maximum(reference.std(0), 1e-12)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    cosine = z[queries] @ z[among].T
    cosine[queries[:, None] == among] = -np.inf
    best = np.argsort(-cosine, axis=1, kind="stable")[:, : min(count, len(among) - 1)]
    return among[best], np.take_along_axis(cosine, best, axis=1)
