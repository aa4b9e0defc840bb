"""The predictor of pairs: what a sample's tokens become under a condition."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config, Depth, Width
from anyjepa.nn.packing import Layout
from anyjepa.nn.transformer import MLP, BlockConfig, build_blocks, build_norm, initialise


class ConditionalPredictorConfig(Config):
    """Blocks over a sample's tokens, each preceded by what brings the condition in."""

    condition_dim: Width = Field(default=128, description="width of a condition token")
    depth: Depth = Field(default=6, description="self-attention blocks, each with its conditioning")
    heads: PositiveInt = Field(default=8, description="attention heads")
    conditioning: Literal["cross_attention", "film"] = Field(
        default="cross_attention",
        description="tokens attend to the condition's tokens; or are scaled and shifted, dim by dim, by what the sum "
        "of its tokens says (FiLM; Perez et al. 2018)",
    )
    residual: bool = Field(
        default=False,
        description="the blocks say what changes, at first nothing, and without a condition nothing ever: tokens + "
        "change; else they say what comes out",
    )
    block: BlockConfig = BlockConfig(bias=True, qkv_bias=True, norm_eps=1e-5)


class CrossAttention(nn.Module):
    """q + attention(norm(q), norm(condition)), then + MLP(norm): what each token takes from the condition's tokens."""

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

    def forward(self, x: Tensor, layout: Layout, condition: Tensor, given: Layout) -> Tensor:
        """x: (B * N, D); condition: (sum C, D), packed by the layout `given` of (B, C) -> (B * N, D)."""
        q = layout.pad(self.query(self.norm1(x))).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, N, D / H)
        kv = given.pad(self.key_value(self.norm_condition(condition))).unflatten(-1, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)  # (B, H, C, D / H) each
        seen = None if given.valid is None else given.valid[:, None, None, :]
        found = nn.functional.scaled_dot_product_attention(q, k, v, seen)
        x = x + self.proj(layout.pack(found.transpose(1, 2).flatten(2)))
        return x + self.mlp(self.norm2(x))


class Film(nn.Module):
    """x (1 + scale) + shift, both linear in the condition; the identity at the start."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, layout: Layout, condition: Tensor, given: Layout) -> Tensor:
        """As `CrossAttention`."""
        scale, shift = (layout.spread(part) for part in self.proj(given.pad(condition).sum(1)).chunk(2, dim=-1))
        return x * (1 + scale) + shift


class ConditionalPredictor(nn.Module):
    """Tokens (B, N, D) and a condition's tokens (B, C, condition_dim) to tokens (B, N, D). dim: D."""

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
        """condition: (B, C, condition_dim), (B, condition_dim) for one token; valid: (B, C), False where it is padding.

        The order of the condition's tokens does not matter. A sample without a valid one has the condition of one token
        of zeros, and so have all where there is nothing to tell (None).
        """
        if condition is None:
            condition = tokens.new_zeros(len(tokens), self.config.condition_dim)
        condition = condition.unsqueeze(1) if condition.ndim == 2 else condition
        none = None
        if valid is not None:
            none = ~valid.any(1)
            first = torch.arange(valid.shape[1], device=valid.device) == 0
            valid, condition = valid | (none[:, None] & first), condition * valid.unsqueeze(-1)
        layout, given = Layout(tokens.shape[0], tokens.shape[1]), Layout(condition.shape[0], condition.shape[1], valid)
        embedded, x = self.embed(given.pack(condition)), layout.pack(tokens)
        for bring, block in zip(self.conditioning, self.blocks, strict=True):
            x = block(bring(x, layout, embedded, given), layout)
        out = layout.pad(self.norm(x))
        if self.change is None:
            return out
        change = self.change(out)
        return tokens + (change if none is None else change * ~none[:, None, None])
