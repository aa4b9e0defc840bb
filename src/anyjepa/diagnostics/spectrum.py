"""Ranks of representations, from the spectrum of their covariance."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(z: Tensor, eps: float = 1e-7) -> Tensor:
    """RankMe: exponential of the entropy of the singular values of z (B, D), between 1 and min(B, D).

    z is centred first, so that a constant offset does not count as a dimension. The rank is 1 if all representations
    are equal, and NaN if any is NaN. Garrido et al. 2023, "RankMe", eq. 1 (without centring).
    """
    if not z.isfinite().all():
        return torch.full((), torch.nan)
    values = _variances(z).sqrt()
    total = values.sum()
    if total <= eps * z.abs().max().clamp(min=1.0) * z.shape[0]:
        return torch.ones(())
    share = values / total
    return torch.exp(-torch.xlogy(share, share).sum()).float()


def alpha_req(z: Tensor) -> Tensor:
    """Exponent alpha of the power law i^-alpha that the eigenvalues of the covariance of z (B, D) follow.

    It is 0 if all directions are equally strong; about 1 is best according to the paper, and much larger values mean
    that few directions dominate. A straight line is fitted to the logarithms of all eigenvalues above rounding noise.
    NaN if there are fewer than three. Agrawal et al. 2022, "alpha-ReQ", section 3.
    """
    if not z.isfinite().all():
        return torch.full((), torch.nan)
    values = _variances(z)
    noise = (1e-7 * z.double().abs().max().item()) ** 2 * len(z)
    values = values[values > max(1e-10 * values[0].item(), noise)]
    if len(values) < 3:
        return torch.full((), torch.nan)
    x = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device).log()
    x, y = x - x.mean(), values.log() - values.log().mean()
    return (-(x * y).sum() / x.square().sum()).float()


def _variances(z: Tensor) -> Tensor:
    """Squared singular values of the centred z (B, D), largest first, in float64 on the CPU.

    They are the eigenvalues of the smaller product of z with itself, which is faster than a singular value
    decomposition.
    """
    z = z.float().cpu().double()  # not every device has float64
    z = z - z.mean(0)
    gram = z.T @ z if z.shape[0] > z.shape[1] else z @ z.T
    return torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)


def lidar(views: Tensor, delta: float = 1e-4) -> Tensor:
    """LiDAR: how many directions tell samples apart better than they tell views of a sample apart.

    views: (B, Q, D), Q >= 2 views of each of B samples. It is the exponential of the entropy of the eigenvalues of
    W^-1/2 S W^-1/2, where S is the covariance of the samples' means and W that of the views around them, plus `delta`
    on its diagonal. Between 1 and min(B - 1, D), and 1 if all samples are equal. Thilak et al. 2024, "LiDAR", eq. 1-3.
    """
    views = views.double()
    means = views.mean(1)  # (B, D)
    inner = (views - means.unsqueeze(1)).flatten(0, 1)
    outer = means - means.mean(0)
    within = inner.T @ inner / len(inner) + delta * torch.eye(views.shape[-1], dtype=views.dtype, device=views.device)
    values, vectors = torch.linalg.eigh(within)
    scaled = outer @ vectors / values.clamp(min=1e-12).sqrt()  # rows in the basis in which the views vary equally
    strength = torch.linalg.svdvals(scaled).square()
    if strength.sum() <= 1e-12 * len(views):
        return torch.ones((), device=views.device)
    share = strength / strength.sum()
    return torch.exp(-torch.xlogy(share, share).sum()).float()
