"""Metrics of representation collapse, as functions of plain tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def collapse_metrics(z: Tensor) -> dict[str, float]:
    """All metrics of this module, by their names in the log.

    z: one vector per sample (B, D), or tokens (B, N, D). Metrics of tokens are those of their means, and the share of
    their spread that is between samples.
    """
    if z.ndim == 3:
        return {**collapse_metrics(z.float().mean(1)), "between": between_samples(z).item()}
    return {
        "std": per_dim_std(z).mean().item(),
        "rank": effective_rank(z).item(),
        "uniformity": uniformity(z).item(),
    }


def per_dim_std(z: Tensor) -> Tensor:
    """Standard deviation of each dimension over the batch, (D,). All are zero after a complete collapse."""
    return z.float().std(0, correction=0)


def between_samples(z: Tensor) -> Tensor:
    """Share of the standard deviation of tokens z (B, N, D) that is between samples, averaged over dimensions.

    For each dimension, this is the deviation over samples at one token position, averaged over positions, divided by
    the deviation over all tokens of all samples. It is 0 if all samples have the same representation, even if their
    tokens differ, and 1 if tokens are independent.
    """
    z = z.float()
    return (z.std(0, correction=0) / z.flatten(0, 1).std(0, correction=0).clamp(min=1e-12)).mean()


def effective_rank(z: Tensor, eps: float = 1e-7) -> Tensor:
    """RankMe: exponential of the entropy of the singular values of z (B, D), between 1 and min(B, D).

    z is centred first, so that a constant offset does not count as a dimension. The rank is 1 if all representations
    are equal, and NaN if any is NaN. Garrido et al. 2023, "RankMe", eq. 1 (without centring).
    """
    z = z.float()
    if not z.isfinite().all():
        return torch.full((), torch.nan, device=z.device)
    values = torch.linalg.svdvals(z - z.mean(0))
    total = values.sum()
    if total <= eps * z.abs().max().clamp(min=1.0) * z.shape[0]:
        return torch.ones((), device=z.device)
    share = values / total
    return torch.exp(-torch.xlogy(share, share).sum())


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean of exp(-t |u - v|^2) over pairs of rows on the unit sphere.

    It is 0 if all rows are equal and about -2t if they are spread out. Wang and Isola 2020, section 4.1.2.
    z: (B, D) with B at least 2.
    """
    u = torch.nn.functional.normalize(z.float(), dim=1)
    squared = (2 - 2 * (u @ u.T)).clamp(min=0)  # (B, B)
    pair = torch.triu_indices(len(u), len(u), offset=1, device=z.device)
    return squared[pair[0], pair[1]].mul(-t).exp().mean().log()
