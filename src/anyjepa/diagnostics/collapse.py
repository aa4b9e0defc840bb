"""Has the representation collapsed? Numbers on plain tensors, for logs and reports."""

from __future__ import annotations

import torch
from torch import Tensor


def collapse_metrics(z: Tensor) -> dict[str, float]:
    """Every metric of this module by the name under which it is logged.

    z: one vector a sample (B, D); or its tokens (B, N, D): their means are measured, and what of their spread lies
    between samples.
    """
    if z.ndim == 3:
        return {**collapse_metrics(z.float().mean(1)), "between": between_samples(z).item()}
    return {
        "std": per_dim_std(z).mean().item(),
        "rank": effective_rank(z).item(),
        "uniformity": uniformity(z).item(),
    }


def per_dim_std(z: Tensor) -> Tensor:
    """(D,) standard deviation over the batch of each dimension. All zero: complete collapse."""
    return z.float().std(0, correction=0)


def between_samples(z: Tensor) -> Tensor:
    """Share of the tokens' standard deviation that lies between samples: z (B, N, D), mean over tokens and dims.

    Of each dimension, the deviation over samples at one token position divided by that over all tokens of all samples.
    0: every sample has the same representation, however much its tokens differ; independent tokens have 1.
    """
    z = z.float()
    return (z.std(0, correction=0) / z.flatten(0, 1).std(0, correction=0).clamp(min=1e-12)).mean()


def effective_rank(z: Tensor, eps: float = 1e-7) -> Tensor:
    """RankMe: exp of the entropy of the singular values of z (B, D), between 1 and min(B, D).

    z is centred first, so that a constant offset does not count as a dimension; representations that are all equal
    have rank 1, those that are no numbers NaN. Garrido et al. 2023, "RankMe", eq. 1 (there without centring).
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
    """log of the mean of exp(-t |u - v|^2) over pairs of rows on the unit sphere; 0: all equal, about -2t: spread out.

    Wang and Isola 2020, section 4.1.2. z: (B, D) with B of 2 or more.
    """
    u = torch.nn.functional.normalize(z.float(), dim=1)
    squared = (2 - 2 * (u @ u.T)).clamp(min=0)  # (B, B)
    pair = torch.triu_indices(len(u), len(u), offset=1, device=z.device)
    return squared[pair[0], pair[1]].mul(-t).exp().mean().log()
