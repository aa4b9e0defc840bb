"""What an encoder gets to see: scale, offset and variety of its inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def input_signs(x: Tensor) -> dict[str, float]:
    """Mean, standard deviation and the share of the deviation that is between samples at the same place.

    x: (B, C, *samples), prepared inputs; NaN marks an absent channel and is skipped. `input_between` is 0 if all
    samples are equal, and near 1 if places have no means of their own.
    """
    x = x.float()
    mean = x.nanmean()
    std = (x - mean).square().nanmean().sqrt()
    between = (x - x.nanmean(0)).square().nanmean().sqrt()
    ratio = torch.where(std > 1e-6 * mean.abs().clamp(min=1e-6), between / std, 0.0)
    return {"input_mean": mean.item(), "input_std": std.item(), "input_between": ratio.item()}
