"""Sizes of gradients and of optimiser steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def gradient_norm(parameters: Iterable[Tensor]) -> float:
    """Length of the gradient over all parameters, before clipping; in units of the loss per unit of weight."""
    return length([p.grad for p in parameters if p.grad is not None])


def relative_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Length of the difference of two lists of weights as a share of the length of the first; 0 if nothing moved."""
    change = torch._foreach_sub([new.detach() for new in after], list(before)) if before else []  # pyright: ignore
    return length(change) / max(length(before), 1e-12)


def length(tensors: Sequence[Tensor]) -> float:
    """Euclidean length of all entries together, accumulated in float64."""
    if not tensors:
        return 0.0
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors])  # pyright: ignore
    return torch.stack([norm.float() for norm in norms]).cpu().double().norm().item()
