"""The predictor of masked prediction: a narrow transformer over context tokens and mask tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config, Depth, Width
from anyjepa.nn.packing import Layout, Packed, gather_rows
from anyjepa.nn.positions import AdditivePositions, LearnedConfig, SinCosConfig
from anyjepa.nn.transformer import BlockConfig, Transformer, initialise


class PredictorConfig(Config):
    """Size and flavour of the masked-token predictor."""

    dim: Width = Field(description="width, narrower than the encoder's")
    depth: Depth = Field(description="blocks")
    heads: PositiveInt = Field(description="attention heads")
    positions: SinCosConfig | LearnedConfig = Field(
        default=SinCosConfig(), discriminator="kind", description="its own positions"
    )
    block: BlockConfig = BlockConfig()
    mask_tokens: PositiveInt = Field(
        default=1, description="learned mask tokens: one for all groups of targets, or one a group (V-JEPA)"
    )
    mask_init: Literal["normal", "zeros"] = Field(
        default="normal", description="mask tokens at the start: N(0, .02^2), or zero (V-JEPA)"
    )


class MaskedPredictor(nn.Module):
    """Predicts a vector of the encoder's width for every target token.

    dim: the encoder's width; grid: its full token grid; residual_depth: see `initialise` (ECG-JEPA: the encoder's).
    """

    def __init__(self, config: PredictorConfig, dim: int, grid: Sequence[int], residual_depth: int | None = None):
        super().__init__()
        self.config = config
        self.embed = nn.Linear(dim, config.dim, bias=config.block.bias)
        self.mask_tokens = nn.Parameter(torch.empty(config.mask_tokens, config.dim))
        self.positions = AdditivePositions(config.positions, config.dim, grid)
        self.transformer = Transformer(config.block, config.dim, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.dim, config.block.norm_eps, bias=config.block.bias)
        self.proj = nn.Linear(config.dim, dim, bias=config.block.bias)
        initialise(self, residual_depth)
        if config.mask_init == "normal":
            nn.init.trunc_normal_(self.mask_tokens, std=0.02)
        else:
            nn.init.zeros_(self.mask_tokens)

    def forward(
        self,
        context: Packed,
        context_index: Tensor,
        target_index: Tensor,
        target_valid: Tensor | None,
        grid: Sequence[int],
        start: Tensor | None = None,
        group: int = 0,
    ) -> Tensor:
        """context: (sum K, D) at context_index (B, K); target_index: (B, M, T), M independent blocks -> (sum T, D).

        target_valid: (B, M, T), None where all are; group: which group of targets this is.
        """
        blocks, targets = target_index.shape[1:]
        table = self.positions(grid, start)
        seen = context.layout.pad(self.embed(context.values)) + gather_rows(table, context_index)  # (B, K, d)
        mask_token = self.mask_tokens[group % len(self.mask_tokens)]
        hidden = (mask_token + gather_rows(table, target_index)).flatten(0, 1)  # (B * M, T, d)
        seen = seen.repeat_interleave(blocks, dim=0) if blocks > 1 else seen
        layout = _joint_layout(context.layout, blocks, targets, target_valid)
        x = layout.pack(torch.cat([seen, hidden.to(seen.dtype)], dim=1))  # (sum of K + T, d)
        x = layout.pad(self.transformer(x, layout))[:, -targets:]
        x = Layout(layout.batch, targets, None if target_valid is None else target_valid.flatten(0, 1)).pack(x)
        return self.proj(self.norm(x))


def _joint_layout(context: Layout, blocks: int, targets: int, target_valid: Tensor | None) -> Layout:
    """The layout of [context, one block of targets], a row for each sample and block."""
    batch, length = context.batch * blocks, context.length + targets
    if context.valid is None and target_valid is None:
        return Layout(batch, length)
    device = context.valid.device if context.valid is not None else target_valid.device  # type: ignore[union-attr]
    seen = (
        torch.ones(context.batch, context.length, dtype=torch.bool, device=device)
        if context.valid is None
        else context.valid
    )
    hidden = (
        torch.ones(batch, targets, dtype=torch.bool, device=device)
        if target_valid is None
        else target_valid.flatten(0, 1)
    )
    return Layout(batch, length, torch.cat([seen.repeat_interleave(blocks, dim=0), hidden], dim=1))
