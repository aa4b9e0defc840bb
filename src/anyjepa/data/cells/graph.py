"""The preprocessing of cells inside an exported graph."""

from __future__ import annotations

import torch
from torch import nn

from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.graph import GraphInput


def graph(preprocessing: CellPreprocessing, patch: int, longest: int) -> GraphInput:
    """The preprocessing of cells (B, genes) float32: log1p expression of the model's genes in its order."""
    example = torch.rand(2, len(preprocessing.genes), generator=torch.Generator().manual_seed(0))
    layout = f"(batch, {len(preprocessing.genes)}) float32: log1p of counts per 10,000"
    return GraphInput(nn.Unflatten(1, (1, -1)), example, {}, layout, {"genes": list(preprocessing.genes)})
