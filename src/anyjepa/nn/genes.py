"""An encoder of gene expression. Each token reads a group of genes, or all genes through an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Depth, Share, Width
from anyjepa.nn.encoder import Encoder, WholeInputConfig
from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.transformer import BlockConfig, Transformer, build_norm


class GeneConfig(WholeInputConfig):
    """Sizes of a gene encoder.

    With hidden layers most parameters are in the first layer and in the projection to tokens; without them each gene
    takes `dim` parameters.
    """

    kind: Literal["genes"] = "genes"
    hidden: tuple[Width, ...] = Field(
        default=(),
        max_length=16,
        description="widths of hidden layers that read all genes and whose output is cut into tokens; none: a token "
        "is a linear function of a group of genes that are neighbours in the panel",
    )
    tokens: PositiveInt = Field(default=32, le=2**16, description="tokens per cell")
    dim: Width = Field(default=128, description="width D of a token")
    depth: Depth = Field(default=4, description="blocks over the tokens")
    heads: PositiveInt = Field(default=8, description="attention heads")
    dropout: Share = Field(default=0.1, description="after each hidden layer, in training only")
    block: BlockConfig = BlockConfig(bias=True, qkv_bias=True, norm_eps=1e-5)

    patch: ClassVar[tuple[int]] = (1,)  # every gene counts as one sample

    def build(self, channels: int, size: Sequence[int]) -> GeneEncoder:
        return GeneEncoder(self, channels, size)


class Groups(nn.Module):
    """Each token is a linear function of its own group of genes, (B, G) -> (B, tokens, dim). Groups have one size."""

    def __init__(self, genes: int, tokens: int, dim: int):
        super().__init__()
        self.tokens, self.each = tokens, -(-genes // tokens)
        if (most := -(-genes // self.each)) < tokens:
            raise ValueError(f"{genes} inputs in groups of {self.each} fill {most} tokens, not {tokens}; use {most}")
        bound = self.each**-0.5
        self.weight = nn.Parameter(torch.empty(tokens, self.each, dim).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        full = nn.functional.pad(x, (0, self.tokens * self.each - x.shape[1])).unflatten(1, (self.tokens, self.each))
        return torch.einsum("bng,ngd->bnd", full, self.weight)


class GeneEncoder(Encoder):
    """Tokens with learned positions, transformer, norm. A hidden layer is Linear, LayerNorm, GELU and dropout.

    size: (G,) genes. Tokens have no place among the genes, so none can be left out; genes can be hidden.
    """

    config: GeneConfig

    def __init__(self, config: GeneConfig, channels: int, size: Sequence[int]):
        if channels != 1 or len(size) != 1:
            raise ValueError(
                f"a gene encoder reads one value per gene, (B, 1, genes), not {channels} channels of {size}"
            )
        super().__init__(config, channels, size, (config.tokens,))
        if config.hidden:
            layers: list[nn.Module] = []
            for before, width in pairwise((self.size[0], *config.hidden)):
                layers += [nn.Linear(before, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(config.dropout)]
            self.projection = nn.Sequential(
                *layers, nn.Linear(config.hidden[-1], config.tokens * config.dim), nn.Unflatten(1, (-1, config.dim))
            )
        else:
            self.projection = Groups(self.size[0], config.tokens, config.dim)
        self.tokens = nn.Parameter(torch.randn(config.tokens, config.dim) * 0.02)
        self.transformer = Transformer(config.block, config.dim, config.depth, config.heads)
        self.norm = build_norm(config.block, config.dim)

    def forward(self, x: Tensor, *, start: Tensor | None = None, shown: Tensor | None = None) -> Packed:
        """x: (B, 1, G) -> tokens (B * tokens, D). shown: (B, G) factors of the genes; start is ignored."""
        if x.shape[1:] != (1, *self.size):
            raise ValueError(f"input has shape {tuple(x.shape[1:])}, the encoder was built for {(1, *self.size)}")
        values = x[:, 0] if shown is None else x[:, 0] * shown
        tokens = self.projection(values) + self.tokens  # (B, N, D)
        layout = Layout(x.shape[0], self.config.tokens)  # not len, which fixes the size of an exported batch
        return Packed(self.norm(self.transformer(layout.pack(tokens), layout)), layout)
