"""Preprocessing as a module that can be exported with a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class GraphInput(NamedTuple):
    """The preprocessing inside an exported graph: it converts raw records (B, ...) to inputs (B, C, *samples)."""

    prepare: nn.Module
    example: Tensor  # (2, ...) two raw records
    axes: dict[int, tuple[str, int, int]]  # axis of variable length -> name, shortest, longest; not the batch
    layout: str  # shape of the raw records, in words
    about: dict[str, object]  # facts for users of the graph, such as the sampling rate


class Standardise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel. shape: shape of these constants."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(shape))
        self.register_buffer("std", torch.tensor(std).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def resizing(places: Tensor, box: Tensor, start: Tensor, side: int, inside: bool) -> Tensor:
    """Compute weights (side, L) float64 that resize an axis of L pixels: bilinear, with antialiasing when downscaling.

    places: 0 ... L - 1. box, start: width and first pixel of the part that is kept. inside: True gives no weight to
    pixels outside of the part (as PyTorch's `interpolate` of a crop); False gives some to those near its edges (as
    Pillow's `resize` of a box).
    """
    scale = box / side
    centres = start + (torch.arange(side, dtype=torch.float64) + 0.5)[:, None] * scale
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    if inside:
        weights = weights * ((places >= start) & (places < start + box))
    return weights / weights.sum(1, keepdim=True)
