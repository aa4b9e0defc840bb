"""The predictor of pairs: predicts a sample's tokens under a condition."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config, Depth, Width
from anyjepa.nn.packing import Layout
from anyjepa.nn.transformer import MLP, BlockConfig, build_blocks, build_norm, initialise


class ConditionalPredictorConfig(Config):
    """Blocks over a sample's tokens, each preceded by a conditioning layer."""

    condition_dim: Width = Field(default=128, description="width of a condition token")
    depth: Depth = Field(default=6, description="self-attention blocks, each with a conditioning layer")
    heads: PositiveInt = Field(default=8, description="attention heads")
    conditioning: Literal["cross_attention", "film"] = Field(
        default="cross_attention",
        description="cross_attention: tokens attend to the condition's tokens; film: each dimension is scaled and "
        "shifted by linear functions of the summed condition tokens (Perez et al. 2018)",
    )
    residual: bool = Field(
        default=False,
        description="predict tokens + change, where the change is initially zero, and always zero without a condition; "
        "false: predict the tokens directly",
    )
    block: BlockConfig = BlockConfig(bias=True, qkv_bias=True, norm_eps=1e-5)


class CrossAttention(nn.Module):
    """q + attention(norm(q), norm(condition)), then + MLP(norm): each token attends to the condition's tokens."""

    def __init__(self, config: BlockConfig, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not a multiple of {heads} heads")
        self.heads = heads
        self.norm1, self.norm_condition, self.norm2 = (build_norm(config, dim) for _ in range(3))
        self.query = nn.Linear(dim, dim, bias=config.qkv_bias)
        self.key_value = nn.Linear(dim, 2 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=config.bias)
        self.mlp = MLP(config, dim)

    def forward(self, x: Tensor, layout: Layout, condition: Tensor, condition_layout: Layout) -> Tensor:
        """x: (B * N, D); condition: (sum C, D), packed from (B, C) by `condition_layout` -> (B * N, D)."""
        q = layout.pad(self.query(self.norm1(x))).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, N, D / H)
        kv = condition_layout.pad(self.key_value(self.norm_condition(condition))).unflatten(-1, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)  # (B, H, C, D / H) each
        valid = None if condition_layout.valid is None else condition_layout.valid[:, None, None, :]
        attended = nn.functional.scaled_dot_product_attention(q, k, v, valid)
        x = x + self.proj(layout.pack(attended.transpose(1, 2).flatten(2)))
        return x + self.mlp(self.norm2(x))


class Film(nn.Module):
    """x (1 + scale) + shift, with scale and shift linear in the condition. Initially the identity."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, layout: Layout, condition: Tensor, condition_layout: Layout) -> Tensor:
        """See `CrossAttention.forward`."""
        summed = condition_layout.pad(condition).sum(1)  # (B, D)
        scale, shift = (layout.spread(part) for part in self.proj(summed).chunk(2, dim=-1))
        return x * (1 + scale) + shift


class ConditionalPredictor(nn.Module):
    """Maps tokens (B, N, D) and condition tokens (B, C, condition_dim) to tokens (B, N, D). dim: D."""

    def __init__(self, config: ConditionalPredictorConfig, dim: int):
        super().__init__()
        self.config = config
        self.embed = nn.Sequential(nn.Linear(config.condition_dim, dim), build_norm(config.block, dim), nn.GELU())
        film = config.conditioning == "film"
        self.conditioning = nn.ModuleList(
            Film(dim) if film else CrossAttention(config.block, dim, config.heads) for _ in range(config.depth)
        )
        self.blocks = build_blocks(config.block, dim, config.depth, config.heads)
        self.norm = build_norm(config.block, dim)
        self.change = nn.Linear(dim, dim) if config.residual else None
        initialise(self)
        for part in self.conditioning:
            if isinstance(part, Film):
                nn.init.zeros_(part.proj.weight)
        if self.change is not None:
            nn.init.zeros_(self.change.weight)

    def forward(self, tokens: Tensor, condition: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """condition: (B, C, condition_dim), or (B, condition_dim) for one token; valid: (B, C), False for padding.

        The order of the condition tokens does not matter. A sample without a valid token gets one token of zeros; if
        condition is None, every sample does.
        """
        if condition is None:
            condition = tokens.new_zeros(len(tokens), self.config.condition_dim)
        condition = condition.unsqueeze(1) if condition.ndim == 2 else condition
        none = None
        if valid is not None:
            none = ~valid.any(1)
            first = torch.arange(valid.shape[1], device=valid.device) == 0
            valid, condition = valid | (none[:, None] & first), condition * valid.unsqueeze(-1)
        layout = Layout(tokens.shape[0], tokens.shape[1])
        condition_layout = Layout(condition.shape[0], condition.shape[1], valid)
        embedded, x = self.embed(condition_layout.pack(condition)), layout.pack(tokens)
        for conditioning, block in zip(self.conditioning, self.blocks, strict=True):
            x = block(conditioning(x, layout, embedded, condition_layout), layout)
        out = layout.pad(self.norm(x))
        if self.change is None:
            return out
        change = self.change(out)
        return tokens + (change if none is None else change * ~none[:, None, None])
