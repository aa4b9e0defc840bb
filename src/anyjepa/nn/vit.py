"""The vision transformer: patches in, one vector per token out. Computes only the visible tokens."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Depth, Width
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.packing import Layout, Packed, gather_rows
from anyjepa.nn.positions import PositionsConfig, SinCosConfig, build_positions
from anyjepa.nn.tokens import patchify, token_grid
from anyjepa.nn.transformer import BlockConfig, Transformer, build_norm, initialise


class ViTConfig(EncoderConfig):
    """A vision transformer over 1, 2 or 3 axes. Channels and input size come from the data."""

    kind: Literal["vit"] = "vit"
    patch: tuple[Width, ...] = Field(description="samples (pixels, frames) per token along each axis")
    dim: Width = Field(description="width D")
    depth: Depth = Field(description="blocks")
    heads: PositiveInt = Field(description="attention heads")
    positions: PositionsConfig = Field(default=SinCosConfig(), description="how tokens know their positions")
    block: BlockConfig = BlockConfig()
    registers: NonNegativeInt = Field(
        default=0, le=4096, description="learned tokens before the patches, without a position, never masked"
    )
    cls: bool = Field(default=False, description="a CLS token before the registers")
    prefix_std: PositiveFloat = Field(
        default=0.02, description="standard deviation of the initial CLS and register tokens"
    )
    absent: bool = Field(
        default=False,
        description="treat channels that are NaN throughout as absent: they count as zero, and each adds a learned "
        "vector to every token",
    )
    causal: bool = Field(default=False, description="a token sees only itself and earlier ones")
    init: Literal["scaled", "plain"] = Field(
        default="scaled",
        description="deviation of residual projections: 0.02 / sqrt(2 depth), or plain 0.02",
    )

    def build(self, channels: int, size: Sequence[int]) -> ViT:
        return ViT(self, channels, size)


class ViT(Encoder):
    """Patch projection, positions, prefix tokens, transformer, final norm (I-JEPA, V-JEPA, ECG-JEPA).

    channels: C; size: samples along each axis of a full input. Inputs may be shorter by whole patches.
    """

    config: ViTConfig

    def __init__(self, config: ViTConfig, channels: int, size: Sequence[int]):
        super().__init__(config, channels, size, token_grid(size, config.patch))
        self.project = nn.Linear(channels * prod(config.patch), config.dim, bias=config.block.bias)
        prefix = config.cls + config.registers
        self.prefix = nn.Parameter(torch.empty(prefix, config.dim), requires_grad=prefix > 0)
        self.absent = nn.Parameter(torch.zeros(channels, config.dim)) if config.absent else None
        self.positions, self.rotary = build_positions(config.positions, config.dim, config.heads, self.grid)
        self.transformer = Transformer(config.block, config.dim, config.depth, config.heads)
        self.norm = build_norm(config.block, config.dim)
        initialise(self, config.depth if config.init == "scaled" else None)
        std = config.prefix_std
        nn.init.trunc_normal_(self.prefix, std=std, a=-100 * std, b=100 * std)

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        valid: Tensor | None = None,
        start: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Packed:
        """x: (B, C, *samples) -> patch tokens, packed (sum K, D), without prefix tokens.

        keep: (B, K) token numbers to encode, None: all; valid: (B, K) False where `keep` is padding; start: (B,) the
        first token's place on the first axis, in tokens, None: 0; shown: (B, N) factors of the tokens and their
        positions, 0 hides a token in place (if `keep` is None).
        """
        values, layout = self._encode(x, keep, valid, start, shown)
        prefix = len(self.prefix)
        if prefix == 0:
            return Packed(self.norm(values), layout)
        inner = Layout(layout.batch, layout.length - prefix, valid)
        return Packed(self.norm(inner.pack(layout.pad(values)[:, prefix:])), inner)

    def features(self, x: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: (B, C, *samples) -> prefix tokens (B, R, D) and all patch tokens (B, N, D)."""
        values, layout = self._encode(x, None, None, start)
        tokens = layout.pad(self.norm(values))
        return tokens[:, : len(self.prefix)], tokens[:, len(self.prefix) :]

    def embed(self, x: Tensor) -> Tensor:
        """x: (B, C, *samples) -> projected patches (B, N, D): the transformer's input before positions."""
        return self.project(patchify(x, self.config.patch))

    def read(self, embedded: Tensor, grid: Sequence[int]) -> Tensor:
        """Projected patches (B, N, D), the first N of a grid in raster order -> outputs (B, R + N, D), prefix first.

        Only for rotary positions. `features` of an input with this grid gives the same outputs.
        """
        assert self.rotary is not None, "additive positions are part of the input, not of its patches"
        tokens = torch.cat([self.prefix.expand(len(embedded), -1, -1), embedded], dim=1)
        layout = Layout(len(tokens), tokens.shape[1])
        angles = self._angles(tuple(grid), None, None)[..., : tokens.shape[1], :]  # type: ignore[index]
        return layout.pad(self.norm(self.transformer(layout.pack(tokens), layout, angles, self.config.causal)))

    def _encode(
        self,
        x: Tensor,
        keep: Tensor | None,
        valid: Tensor | None,
        start: Tensor | None,
        shown: Tensor | None = None,
    ) -> Packed:
        if x.shape[1] != self.channels:
            raise ValueError(f"input has {x.shape[1]} channels, the encoder was built for {self.channels}")
        absent = None
        if self.absent is not None:
            missing = x.isnan().flatten(2).all(2)  # (B, C)
            x = x.masked_fill(missing.view(*missing.shape, *[1] * (x.ndim - 2)), 0.0)
            absent = missing.to(self.absent.dtype) @ self.absent  # (B, D)
        patches = patchify(x, self.config.patch)  # (B, N, C * prod(patch))
        grid = token_grid(x.shape[2:], self.config.patch)
        if keep is not None:
            patches = gather_rows(patches, keep)  # (B, K, ...)
        layout = Layout(patches.shape[0], patches.shape[1], valid)
        tokens = layout.pad(self.project(layout.pack(patches)).to(self.prefix.dtype))  # (B, K, D), float32 in autocast
        if absent is not None:
            tokens = tokens + absent.unsqueeze(1)
        if self.positions is not None:
            tokens = tokens + _rows(self.positions(grid, start), keep)
        if shown is not None:
            tokens = tokens * shown.unsqueeze(-1)
        if len(self.prefix):
            tokens = torch.cat([self.prefix.expand(layout.batch, -1, -1), tokens], dim=1)
            layout = layout.with_prefix(len(self.prefix))
        values = self.transformer(layout.pack(tokens), layout, self._angles(grid, start, keep), self.config.causal)
        return Packed(values, layout)

    def _angles(self, grid: tuple[int, ...], start: Tensor | None, keep: Tensor | None) -> Tensor | None:
        if self.rotary is None:
            return None
        angles = _rows(self.rotary(grid, start), keep)  # (B, K, head_dim) or (N, head_dim)
        angles = nn.functional.pad(angles, (0, 0, len(self.prefix), 0))  # prefix tokens: angle 0
        return angles.unsqueeze(-3) if angles.ndim == 3 else angles[None, None]


def _rows(table: Tensor, keep: Tensor | None) -> Tensor:
    return table if keep is None else gather_rows(table, keep)
