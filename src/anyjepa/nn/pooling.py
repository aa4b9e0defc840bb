"""From tokens to one vector or to class logits: mean, last, register and attentive heads."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.nn.attention import attend


class HeadConfig(Config):
    """How a classifier reads an encoder."""

    kind: Literal["mean", "last", "register", "attentive"] = Field(
        default="mean",
        description="mean of patch tokens, the last patch token (of a causal encoder), first prefix token, or one "
        "learned query over all tokens",
    )
    bias: bool = Field(default=False, description="biases of the output (and of attention's q, k, v)")
    norm: PositiveFloat | None = Field(
        default=None, description="epsilon of a LayerNorm on the vector before the output (NEPA); none: no such norm"
    )
    standardise: bool = Field(
        default=False, description="tokens by fixed means and deviations, one of prefix tokens and one of patch tokens"
    )

    @model_validator(mode="after")
    def _one_vector(self) -> Self:
        if self.norm is not None and self.kind == "attentive":
            raise ValueError("norm: an attentive head has no single vector before its output; leave it out")
        return self


class AttentivePool(nn.Module):
    """One learned query attends to all tokens and projects straight to the outputs (ECG-JEPA)."""

    def __init__(self, dim: int, heads: int, outputs: int, bias: bool = False):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(dim))
        self.q = nn.Linear(dim, dim, bias=bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=bias)
        self.proj = nn.Linear(dim, outputs, bias=bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, L, D) -> (B, outputs)."""
        batch = len(tokens)
        k, v = self.kv(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H)
        q = self.q(self.query).view(1, self.heads, 1, -1).expand(batch, -1, -1, -1).to(k.dtype)
        return self.proj(attend(q, k, v, None, False, 0.0).flatten(1))


class Standardise(nn.Module):
    """Mean 0 and deviation 1 over the training tokens, (D,) each; 0 and 1 until they are set."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens - self.mean) / self.std


class Head(nn.Module):
    """Class logits from an encoder's `features`. dim, heads: the encoder's; outputs: classes."""

    def __init__(self, config: HeadConfig, dim: int, heads: int, outputs: int):
        super().__init__()
        self.config = config
        if config.kind == "attentive":
            self.read = AttentivePool(dim, heads, outputs, config.bias)
        else:
            self.read = nn.Linear(dim, outputs, bias=config.bias)
        self.norm = None if config.norm is None else nn.LayerNorm(dim, config.norm)
        if config.standardise:
            self.prefix, self.patches = Standardise(dim), Standardise(dim)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif not name.startswith("norm."):
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, prefix: Tensor, patches: Tensor) -> Tensor:
        """prefix: (B, R, D), patches: (B, N, D) -> logits (B, outputs). ValueError without a prefix to read."""
        if self.config.standardise:
            prefix, patches = self.prefix(prefix), self.patches(patches)
        if self.config.kind == "attentive":
            return self.read(torch.cat([prefix, patches], dim=1))
        if self.config.kind == "register" and prefix.shape[1] == 0:
            raise ValueError(
                "a register head needs an encoder with a register or CLS token; choose 'mean' or 'attentive'"
            )
        if self.config.kind == "mean":
            vector = patches.mean(dim=1)
        else:
            vector = patches[:, -1] if self.config.kind == "last" else prefix[:, 0]
        return self.read(vector if self.norm is None else self.norm(vector))
