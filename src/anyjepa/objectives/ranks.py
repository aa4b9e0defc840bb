"""Differentiable sums over all ranks, for losses that are statistics of a whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def over_ranks(x: Tensor) -> Tensor:
    """The sum of x over all ranks. Its gradient is the sum of the gradients on all ranks."""
    return x if ranks() == 1 else _Sum.apply(x)  # type: ignore[return-value]


def of_first_rank(x: Tensor) -> Tensor:
    """The first rank's x, on every rank, without gradient."""
    if ranks() > 1:
        dist.broadcast(x, 0)
    return x


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient
