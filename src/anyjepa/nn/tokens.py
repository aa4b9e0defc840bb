"""From raw input to patches: one tokeniser for signals (1-D), images (2-D) and video (3-D)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from anyjepa.limits import MEMORY


def token_grid(samples: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Tokens along each axis. Raises ValueError unless every axis is a positive multiple of its patch."""
    if len(samples) != len(patch):
        raise ValueError(f"input has {len(samples)} axes {tuple(samples)}, the patch has {len(patch)} {tuple(patch)}")
    if any(s < p or s % p for s, p in zip(samples, patch, strict=True)):
        raise ValueError(f"input of {tuple(samples)} samples is not a positive multiple of the patch {tuple(patch)}")
    return tuple(s // p for s, p in zip(samples, patch, strict=True))


def check_table(tokens: int, dim: int, what: str) -> None:
    """Raise InputError if a position table needs too much memory. It is computed in float64, with copies."""
    MEMORY.check(32 * tokens * dim, f"{what}: a position table of {tokens} tokens of width {dim}")


def patchify(x: Tensor, patch: Sequence[int]) -> Tensor:
    """(B, C, *samples) -> (B, N, C * prod(patch)).

    Tokens are in raster order (last axis fastest). Features have the order of a convolution's weight (channel, *patch),
    so a Linear on patches equals a convolution with kernel and stride `patch`.
    """
    grid = token_grid(x.shape[2:], patch)
    axes = len(grid)
    split = [size for pair in zip(grid, patch, strict=True) for size in pair]
    x = x.reshape(*x.shape[:2], *split)  # (B, C, n1, p1, n2, p2, ...)
    order = [0, *range(2, 2 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2)]
    return x.permute(order).reshape(x.shape[0], prod(grid), -1)
