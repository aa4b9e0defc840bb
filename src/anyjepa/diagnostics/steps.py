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
    change = [new.detach() - old for old, new in zip(before, after, strict=True)]
    return length(change) / max(length(before), 1e-12)


def length(tensors: Sequence[Tensor]) -> float:
    """Euclidean length of all entries together, accumulated in float64."""
    if not tensors:
        return 0.0
    return torch.stack([tensor.detach().float().norm().double() for tensor in tensors]).norm().item()
