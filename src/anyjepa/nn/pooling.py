"""From tokens to one vector or to class logits: mean, dynamics, middle, last, register and attentive heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from anyjepa.errors import InputError
from anyjepa.nn.attention import attend
from anyjepa.nn.transformer import MLP, BlockConfig
from anyjepa.parts import Kinds, Part

ATTENTIVE = ("attentive", "attentive-block")
Summary = Literal["mean", "dynamics", "middle"]
LAGS = (1, 2, 4, 8, 16)  # in tokens
MIDDLE = 5  # tokens
WIDTHS: dict[str, int] = {"mean": 1, "dynamics": 1 + len(LAGS), "middle": 1 + MIDDLE + 1}  # features per dimension


class ClassifierHead(Part):
    """Base of the settings of heads, which read class logits off an encoder's tokens."""

    @property
    def joint(self) -> bool:
        """Whether the head can read several windows of a record at once, see `TokenHead.forward`."""
        return False

    @abstractmethod
    def build(self, dim: int, heads: int, outputs: int) -> Head:
        """An untrained head.

        dim: D; heads: attention heads that divide D; outputs: classes.
        """


class Head(nn.Module, ABC):
    """Class logits from an encoder's `features`."""

    config: ClassifierHead

    @abstractmethod
    def forward(self, prefix: Tensor, patches: Tensor, valid: Tensor | None = None) -> Tensor:
        """prefix: (B, R, D), patches: (B, N, D) -> logits (B, outputs). valid: only for joint heads."""


class HeadConfig(ClassifierHead):
    """How a classifier reads an encoder's tokens."""

    kind: Literal["mean", "dynamics", "middle", "last", "register", "attentive", "attentive-block"] = Field(
        default="mean",
        description="mean: of patch tokens; dynamics: their mean and, per dimension, their autocorrelation at lags of "
        "1, 2, 4, 8 and 16 tokens; middle: their mean, the five in the middle one by one, and the mean of the first "
        "half; last: the last patch token, of a causal encoder; register: the first prefix token; "
        "attentive: a learned query attends to all tokens (ECG-JEPA); attentive-block: also an MLP (V-JEPA)",
    )
    bias: bool = Field(default=False, description="biases of the output (and of attention's q, k, v, and the MLP)")
    norm: PositiveFloat | None = Field(
        default=None, description="epsilon of a LayerNorm before the output (NEPA); none: no LayerNorm"
    )
    standardise: bool = Field(
        default=False, description="standardise tokens by fixed statistics, separately for prefix and patch tokens"
    )

    @model_validator(mode="after")
    def _one_vector(self) -> Self:
        if self.norm is not None and self.kind in ATTENTIVE:
            raise ValueError("norm: an attentive head has no single vector before its output; leave norm out")
        return self

    @property
    def joint(self) -> bool:
        return self.kind in ATTENTIVE

    def build(self, dim: int, heads: int, outputs: int) -> TokenHead:
        return TokenHead(self, dim, heads, outputs)


AnyHead = Annotated[ClassifierHead, Kinds(HeadConfig, usual="mean")]


class AttentivePool(nn.Module):
    """One learned query attends to all tokens and projects straight to the outputs (ECG-JEPA)."""

    def __init__(self, dim: int, heads: int, outputs: int, bias: bool = False):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(dim))
        self.q = nn.Linear(dim, dim, bias=bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=bias)
        self.proj = nn.Linear(dim, outputs, bias=bias)

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens: (B, L, D), valid: (B, L) False for tokens that are not read -> (B, outputs)."""
        return self.proj(_query(self.q(self.query), self.kv(tokens), self.heads, valid))


class AttentiveBlock(nn.Module):
    """A learned query through a block of cross-attention and MLP, then the outputs (V-JEPA, Bardes et al. 2024).

    LayerNorm on the keys and values and before the MLP, both residual; attention has no output projection.
    """

    def __init__(self, dim: int, heads: int, outputs: int, bias: bool = False):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim, bias=bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=bias)
        self.mlp = MLP(BlockConfig(bias=bias), dim)
        self.proj = nn.Linear(dim, outputs, bias=bias)

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens: (B, L, D), valid: (B, L) False for tokens that are not read -> (B, outputs)."""
        x = self.query + _query(self.q(self.query), self.kv(self.norm1(tokens)), self.heads, valid)  # (B, D)
        return self.proj(x + self.mlp(self.norm2(x)))


def _query(query: Tensor, kv: Tensor, heads: int, valid: Tensor | None) -> Tensor:
    """query: (D,), keys and values (B, L, 2 D), valid: (B, L) -> (B, D)."""
    k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H)
    q = query.view(1, heads, 1, -1).expand(kv.shape[0], -1, -1, -1).to(k.dtype)
    return attend(q, k, v, valid, False, 0.0).flatten(1)


def summarise(tokens: Tensor, summary: Summary) -> Tensor:
    """tokens: (..., N, D) in the order of time -> one vector, (..., D), (..., 6 D) or (..., 7 D).

    The mean forgets when things happened; the autocorrelation knows after how many tokens they come again, however
    strong they are. It is the biased estimate (Box & Jenkins 1970), which is zero at lags of N and more. For windows
    cut around an event, the middle is the mean, five tokens (zeros beyond the ends) and the mean of the first half.
    """
    mean = tokens.mean(-2)
    if summary == "mean":
        return mean
    if summary == "middle":
        length, side = tokens.shape[-2], MIDDLE // 2
        around = nn.functional.pad(tokens, (0, 0, side, side)).narrow(-2, length // 2, MIDDLE)
        return torch.cat([mean, around.flatten(-2), tokens.narrow(-2, 0, (length + 1) // 2).mean(-2)], -1)
    z = tokens - mean.unsqueeze(-2)
    energy = z.square().sum(-2) + 1e-6 * tokens.shape[-2]
    later = nn.functional.pad(z, (0, 0, 0, LAGS[-1]))  # so that no length is a special case in an exported graph
    lagged = ((z * later.narrow(-2, lag, tokens.shape[-2])).sum(-2) / energy for lag in LAGS)
    return torch.cat([mean, *lagged], -1)


class Standardise(nn.Module):
    """Scales tokens to mean 0 and standard deviation 1 over the training tokens, (D,) each; initially the identity."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens - self.mean) / self.std


class TokenHead(Head):
    """Reads a mean, a token or attention over tokens. dim, heads: the encoder's; outputs: classes."""

    config: HeadConfig

    def __init__(self, config: HeadConfig, dim: int, heads: int, outputs: int):
        super().__init__()
        self.config = config
        width = dim * WIDTHS.get(config.kind, 1)
        if config.kind in ATTENTIVE:
            if dim % heads:
                raise InputError(
                    f"head.kind={config.kind}: the width {dim} is not a multiple of the encoder's {heads} heads; "
                    "choose mean, or train with heads that divide it"
                )
            pool = AttentivePool if config.kind == "attentive" else AttentiveBlock
            self.read = pool(dim, heads, outputs, config.bias)
        else:
            self.read = nn.Linear(width, outputs, bias=config.bias)
        self.norm = None if config.norm is None else nn.LayerNorm(width, config.norm)
        if config.standardise:
            self.prefix, self.patches = Standardise(dim), Standardise(dim)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, prefix: Tensor, patches: Tensor, valid: Tensor | None = None) -> Tensor:
        """prefix: (B, R, D), patches: (B, N, D) -> logits (B, outputs).

        An attentive head can also read K windows of a record jointly: prefix (B, K, R, D), patches (B, K, N, D) and
        valid (B, K), False for padding. Raises InputError if a register head gets no prefix.
        """
        if self.config.standardise:
            prefix, patches = self.prefix(prefix), self.patches(patches)
        if self.config.kind in ATTENTIVE:
            tokens = torch.cat([prefix, patches], dim=-2)
            if valid is not None:
                valid = valid.repeat_interleave(tokens.shape[-2], dim=1)  # (B, K (R + N))
            return self.read(tokens.flatten(1, -2), valid)
        if self.config.kind == "register" and prefix.shape[1] == 0:
            raise InputError(
                "head.kind=register needs an encoder with a register or CLS token; choose mean or attentive"
            )
        if self.config.kind in ("mean", "dynamics", "middle"):
            vector = summarise(patches, self.config.kind)
        else:
            vector = patches[:, -1] if self.config.kind == "last" else prefix[:, 0]
        return self.read(vector if self.norm is None else self.norm(vector))
