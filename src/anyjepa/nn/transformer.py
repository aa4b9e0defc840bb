"""The transformer of all models, on packed tokens."""

from __future__ import annotations

from collections.abc import Collection
from math import sqrt
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from anyjepa.config import Config, Share
from anyjepa.nn.attention import attend
from anyjepa.nn.packing import Layout, take
from anyjepa.nn.positions import rotate


class BlockConfig(Config):
    """A transformer block: the settings in which published models differ. The defaults are ECG-JEPA's."""

    mlp_ratio: PositiveFloat = Field(default=4.0, description="hidden width of the MLP / width D")
    mlp: Literal["gelu", "relu", "silu", "swiglu", "geglu"] = Field(
        default="gelu", description="plain with exact GELU, ReLU or SiLU, or gated with SiLU or exact GELU"
    )
    norm: Literal["layer", "batch"] = Field(
        default="layer",
        description="LayerNorm, or BatchNorm over the tokens of a micro-batch (of one device), with running statistics",
    )
    norm_first: bool = Field(
        default=True, description="norms before attention and the MLP; false: after each residual sum (wav2vec 2.0)"
    )
    bias: bool = Field(default=False, description="biases in Linear and LayerNorm, including the patch projection")
    qkv_bias: bool = Field(default=False, description="biases in the query, key and value projections")
    qk_norm: Literal["off", "plain", "affine", "biased"] = Field(
        default="off",
        description="LayerNorm of each head's queries and keys: affine has a weight, biased a weight and a bias",
    )
    norm_eps: PositiveFloat = Field(default=1e-6, description="epsilon of every norm")
    layer_scale: PositiveFloat | None = Field(
        default=None, description="initial scale of each residual branch; none: no scale"
    )
    drop_path: Share = Field(
        default=0.0,
        lt=1,
        description="stochastic depth: probability of skipping a branch of the last block; it rises linearly from 0",
    )
    dropout: Share = Field(
        default=0.0, description="after attention's projection and both MLP layers, in training only"
    )
    attention_dropout: Share = Field(default=0.0, description="on attention weights, in training only")


def build_norm(config: BlockConfig, dim: int) -> nn.Module:
    """A norm of packed tokens (S, dim)."""
    if config.norm == "batch":
        return nn.BatchNorm1d(dim, config.norm_eps)
    return nn.LayerNorm(dim, config.norm_eps, bias=config.bias)


class Attention(nn.Module):
    """Multi-head self-attention over each sample's tokens."""

    def __init__(self, config: BlockConfig, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not a multiple of {heads} heads")
        self.heads, self.config = heads, config
        self.qkv = nn.Linear(dim, 3 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=config.bias)
        if config.qk_norm != "off":
            affine, bias = config.qk_norm != "plain", config.qk_norm == "biased"
            self.q_norm = nn.LayerNorm(dim // heads, config.norm_eps, elementwise_affine=affine, bias=bias)
            self.k_norm = nn.LayerNorm(dim // heads, config.norm_eps, elementwise_affine=affine, bias=bias)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        angles: Tensor | None = None,
        causal: bool = False,
        read: Tensor | None = None,
        sees: Tensor | None = None,
    ) -> Tensor:
        """x: (S, D); angles: (B or 1, 1, L, D / heads) of rotary positions; read, sees: see `Block` -> (S or R, D)."""
        qkv = self.qkv(x)
        if angles is not None or sees is not None:  # which belong to the padded view
            keys = layout.valid if sees is None else sees
            values = layout.pack(self._attend(layout.pad(qkv), keys, angles, causal))
        else:
            parts = [self._attend(padded, part.valid, None, causal) for part, padded in layout.split(qkv)]
            values = layout.join(parts)
        return self.proj(take(values, read))

    def _attend(self, qkv: Tensor, valid: Tensor | None, angles: Tensor | None, causal: bool) -> Tensor:
        """qkv: (B, L, 3 D), valid: see `attend` -> (B, L, D)."""
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        if self.config.qk_norm != "off":
            q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        dropout = self.config.attention_dropout if self.training else 0.0
        return attend(q, k, v, valid, causal, dropout).transpose(1, 2).flatten(2)


GATED = ("swiglu", "geglu")
ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "swiglu": F.silu, "geglu": F.gelu}


class MLP(nn.Module):
    """Two layers with an activation in between, which may be gated (Shazeer 2020)."""

    def __init__(self, config: BlockConfig, dim: int):
        super().__init__()
        hidden = round(dim * config.mlp_ratio)
        self.activation, self.gated = ACTIVATIONS[config.mlp], config.mlp in GATED
        self.fc1 = nn.Linear(dim, hidden * (2 if self.gated else 1), bias=config.bias)
        self.fc2 = nn.Linear(hidden, dim, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if self.gated:
            gate, x = x.chunk(2, dim=-1)
            x = self.activation(gate) * x
        else:
            x = self.activation(x)
        return self.fc2(self.dropout(x))


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); LayerScale and DropPath on both branches.

    With `norm_first` false: norm(x + attention(x)), then norm(x + MLP(x)).
    """

    def __init__(self, config: BlockConfig, dim: int, heads: int, drop_path: float):
        super().__init__()
        self.config = config
        self.norm1 = build_norm(config, dim)
        self.attn = Attention(config, dim, heads)
        self.norm2 = build_norm(config, dim)
        self.mlp = MLP(config, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.drop_path = drop_path
        self.scale1 = self.scale2 = None
        if config.layer_scale is not None:
            self.scale1 = nn.Parameter(torch.full((dim,), config.layer_scale))
            self.scale2 = nn.Parameter(torch.full((dim,), config.layer_scale))

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        angles: Tensor | None = None,
        causal: bool = False,
        read: Tensor | None = None,
        sees: Tensor | None = None,
    ) -> Tensor:
        """x: (S, D); read: (R,) which tokens to compute, None: all -> (S or R, D).

        A BatchNorm after attention then sees only these tokens, in training and in evaluation. sees: (B or 1, L, L)
        which tokens each token attends to, never padding, None: all.
        """
        first = self.config.norm_first
        attended = self.attn(self.norm1(x) if first else x, layout, angles, causal, read, sees)
        x = take(x, read) + self._branch(attended, self.scale1, layout, read)
        x = x if first else self.norm1(x)
        x = x + self._branch(self.mlp(self.norm2(x) if first else x), self.scale2, layout, read)
        return x if first else self.norm2(x)

    def _branch(self, x: Tensor, scale: Tensor | None, layout: Layout, read: Tensor | None) -> Tensor:
        x = self.dropout(x)
        if scale is not None:
            x = x * scale
        if self.training and self.drop_path > 0:
            kept = torch.rand(layout.batch, 1, device=x.device) >= self.drop_path
            x = x * take(layout.spread(kept / (1 - self.drop_path)), read)
        return x


def build_blocks(config: BlockConfig, dim: int, depth: int, heads: int) -> nn.ModuleList:
    """Blocks with DropPath rates that rise linearly from 0."""
    rates = [config.drop_path * number / max(depth - 1, 1) for number in range(depth)]
    return nn.ModuleList(Block(config, dim, heads, rate) for rate in rates)


class Transformer(nn.Module):
    """A stack of blocks, without a final norm."""

    def __init__(self, config: BlockConfig, dim: int, depth: int, heads: int):
        super().__init__()
        self.blocks = build_blocks(config, dim, depth, heads)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        angles: Tensor | None = None,
        causal: bool = False,
        read: Tensor | None = None,
        sees: Tensor | None = None,
        again: Tensor | None = None,
        levels: Collection[int] = (),
    ) -> Tensor:
        """x: (S, D) -> (S, D). If causal, a token sees itself and earlier tokens of its sample.

        read: (R,) which outputs to compute in the last block -> (R, D), None: all; sees: see `Block`; again: (S, D),
        added to the tokens between blocks; levels: numbers of earlier blocks whose outputs stand before those of the
        last -> (S, (levels + 1) D).
        """
        *blocks, last = self.blocks
        outputs = []
        for number, block in enumerate(blocks):
            x = block(x, layout, angles, causal, None, sees)
            if number in levels:
                outputs.append(x)
            if again is not None:
                x = x + again
        x = last(x, layout, angles, causal, read, sees)
        return torch.cat([*outputs, x], dim=-1) if outputs else x


def initialise(module: nn.Module, residual_depth: int | None = None) -> None:
    """Linear weights from a truncated normal of deviation 0.02, biases 0; norms keep 1 and 0.

    residual_depth: the last projection of a residual branch gets 0.02 / sqrt(2 x this depth) instead (ECG-JEPA).
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if residual_depth is not None:
        for part in module.modules():
            if isinstance(part, Block):
                for last in (part.attn.proj, part.mlp.fc2):
                    nn.init.trunc_normal_(last.weight, std=0.02 / sqrt(2 * residual_depth))
