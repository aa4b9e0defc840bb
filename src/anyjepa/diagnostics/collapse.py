"""Metrics of representation collapse, as functions of plain tensors."""

from __future__ import annotations

from itertools import count
from math import gcd

import torch
from torch import Tensor

from anyjepa.diagnostics.spectrum import alpha_req, effective_rank

ROWS, PAIRED = 2048, 512  # about so many tokens are enough for a rank, and vectors for distances of pairs
DEAD = 0.01  # a dimension is dead if its deviation is below this share of the entries' root mean square


def collapse_metrics(z: Tensor) -> dict[str, float]:
    """All metrics of this module, by their names in the log.

    z: one vector per sample (B, D), or tokens (B, N, D). Metrics of tokens are those of their means, and three of their
    own: the share of their spread that is between samples, and rank and spread without their position means.
    """
    if z.ndim == 3:
        centred = (z.float() - z.float().mean(0)).flatten(0, 1)
        some = centred[:: stride(len(centred) // ROWS, z.shape[1])]
        own = {"between": between_samples(z), "token_rank": effective_rank(some), "spread": spread(z)}
        return {**collapse_metrics(z.float().mean(1)), **{name: value.item() for name, value in own.items()}}
    return {
        "std": per_dim_std(z).mean().item(),
        "rank": effective_rank(z).item(),
        "uniformity": uniformity(z[:: max(1, len(z) // PAIRED)]).item(),
        "alpha": alpha_req(z).item(),
        "dead": dead_dimensions(z).item(),
        "spread": spread(z).item(),
    }


def stride(least: int, places: int) -> int:
    """The smallest step of at least `least` with which every one of `places` positions occurs among tokens."""
    return next(step for step in count(max(1, least)) if gcd(step, places) == 1)


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


def spread(z: Tensor) -> Tensor:
    """Deviation between samples as a share of the length of the vectors, both as root mean squares; 0 to 1.

    z: (B, D) or (B, N, D). Tokens are compared at the same position, so that position means do not count. It is 0 if
    all samples have the same representation, whatever its scale.
    """
    z = z.float()
    return (z - z.mean(0)).square().mean().sqrt() / z.square().mean().sqrt().clamp(min=1e-12)


def dead_dimensions(z: Tensor) -> Tensor:
    """Share of the D dimensions of z (B, D) that hardly vary: by less than `DEAD` of the entries' root mean square."""
    return (per_dim_std(z) <= DEAD * z.float().square().mean().sqrt()).float().mean()


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean of exp(-t |u - v|^2) over pairs of rows on the unit sphere.

    It is 0 if all rows are equal and about -2t if they are spread out. Wang and Isola 2020, section 4.1.2.
    z: (B, D) with B at least 2.
    """
    u = torch.nn.functional.normalize(z.float(), dim=1)
    squared = (2 - 2 * (u @ u.T)).clamp(min=0)  # (B, B)
    close = squared.mul_(-t).exp_().fill_diagonal_(0)  # (B, B)
    return (close.sum() / (len(u) * (len(u) - 1))).log()
