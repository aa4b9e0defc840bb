"""The preprocessing of series inside an exported graph."""

from __future__ import annotations

import torch

from anyjepa.data.graph import GraphInput, Standardise
from anyjepa.data.series.preprocessing import SeriesPreprocessing


def graph(preprocessing: SeriesPreprocessing, patch: int, longest: int) -> GraphInput:
    """Standardisation of series (B, channels, samples) float32 without gaps."""
    shape = (2, preprocessing.channels, longest)
    unit = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    example = unit * torch.tensor(preprocessing.std)[:, None] + torch.tensor(preprocessing.mean)[:, None]
    prepare = Standardise(preprocessing.mean, preprocessing.std, (-1, 1))
    axes = {2: ("samples", 2 * patch, longest)}
    return GraphInput(prepare, example, axes, "(batch, channels, samples) float32, without gaps", {})
