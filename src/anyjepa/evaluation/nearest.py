"""Nearest neighbours of features."""

from __future__ import annotations

import numpy as np
import torch

CHUNK = 256  # queries that are compared together: 51 MB of similarities to 50,000 vectors


def nearest(features: np.ndarray, queries: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, K) of the most similar features in descending order, and their cosines (Q, K), without the query itself.

    count: K, or fewer if `among` has fewer other rows.

    features: (N, D), standardised by the rows `among` before they are compared.
    """
    reference = features[among].astype(np.float64)
    z = unit((features - reference.mean(0)) / np.maximum(reference.std(0), 1e-12))
    own = np.full(len(z), -1)
    own[among] = np.arange(len(among))
    best, cosine = most_similar(z[queries], z[among], min(count, len(among) - 1), own[queries])
    return among[best], cosine.astype(np.float64)


def most_similar(
    queries: np.ndarray, bank: np.ndarray, count: int, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, count) of the bank with the largest products, in descending order, and these products.

    queries: (Q, D) and bank: (M, D) float32. own: row of each query in the bank, which is left out; -1 if it has none.
    """
    x, y = torch.from_numpy(queries), torch.from_numpy(bank).T
    compared = []
    for start in range(0, len(queries) or 1, CHUNK):
        similarity = x[start : start + CHUNK] @ y  # (q, M)
        if own is not None:
            mine = own[start : start + CHUNK]
            similarity[np.flatnonzero(mine >= 0), mine[mine >= 0]] = -torch.inf
        compared.append(similarity.topk(count))
    values, rows = (torch.cat(parts).numpy() for parts in zip(*compared, strict=True))
    return rows, values


def unit(z: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1, float32; zeros stay zeros."""
    return (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)).astype(np.float32)
