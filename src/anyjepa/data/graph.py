"""Preprocessing as a module that can be exported with a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class GraphInput(NamedTuple):
    """What turns raw records (B, ...) into the input of an encoder (B, C, *samples) inside an exported graph."""

    prepare: nn.Module
    example: Tensor  # (2, ...) two raw records
    axes: dict[int, tuple[str, int, int]]  # axes of any length: name, smallest and largest; the batch is always one
    layout: str  # of the records, in words
    about: dict[str, object]  # facts that a user of the graph needs, such as the rate


class Standardise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel. shape: of the constants."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(shape))
        self.register_buffer("std", torch.tensor(std).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def resizing(places: Tensor, box: Tensor, start: Tensor, side: int, inside: bool) -> Tensor:
    """Weights (side, L) that resize one axis: bilinear, antialiased where the picture gets smaller, in float64.

    places: 0 ... L - 1; box, start: width and first place of the part that is kept. inside: places outside
    of the part have no weight (PyTorch's `interpolate` of a crop), or some at its edges (Pillow's `resize` of a box).
    """
    scale = box / side
    centres = start + (torch.arange(side, dtype=torch.float64) + 0.5)[:, None] * scale
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    if inside:
        weights = weights * ((places >= start) & (places < start + box))
    return weights / weights.sum(1, keepdim=True)
