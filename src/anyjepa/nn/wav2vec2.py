"""wav2vec 2.0's encoder of signals, as in ECG-FM: convolutions make tokens, and one more encodes their positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Literal

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Depth, Width
from anyjepa.nn.encoder import Encoder, WholeInputConfig
from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.transformer import BlockConfig, Transformer, build_norm, initialise


class Wav2Vec2Config(WholeInputConfig):
    """wav2vec 2.0 (Baevski et al. 2020) without its quantiser and its masks; the defaults are ECG-FM's (2024)."""

    kind: Literal["wav2vec2"] = "wav2vec2"
    widths: tuple[Width, ...] = Field(
        default=(256, 256, 256, 256), min_length=1, max_length=16, description="channels of each convolution"
    )
    strides: tuple[PositiveInt, ...] = Field(
        default=(2, 2, 2, 2), description="stride of each convolution, which is also its kernel"
    )
    convolution_bias: bool = Field(default=False, description="biases in the convolutions that make tokens")
    dim: Width = Field(default=768, description="width D of a token")
    depth: Depth = Field(default=12, description="blocks")
    heads: PositiveInt = Field(default=12, description="attention heads")
    position_kernel: PositiveInt = Field(default=128, le=4096, description="tokens that a position is read from")
    position_groups: PositiveInt = Field(default=16, description="groups of the convolution that reads positions")
    block: BlockConfig = BlockConfig(bias=True, qkv_bias=True, norm_eps=1e-5, norm_first=False)

    @property
    def patch(self) -> tuple[int]:
        """Samples from one token to the next."""
        return (prod(self.strides),)

    @property
    def multiple(self) -> int:
        return 1  # the first convolution is standardised over all samples, also those after the last whole token

    def grid(self, channels: int, samples: Sequence[int]) -> tuple[int, ...]:
        """Samples after the last whole token have none."""
        if len(samples) != 1 or samples[0] < self.patch[0]:
            raise ValueError(f"input of {tuple(samples)} samples: needs one axis of at least {self.patch[0]} samples")
        return (samples[0] // self.patch[0],)

    def build(self, channels: int, size: Sequence[int]) -> Wav2Vec2:
        return Wav2Vec2(self, channels, size)


class Wav2Vec2(Encoder):
    """Convolutions, norm, projection, positions and transformer. Every token sees the whole input.

    channels: C; size: samples of a full input. Raises ValueError if settings do not fit together.
    """

    config: Wav2Vec2Config

    def __init__(self, config: Wav2Vec2Config, channels: int, size: Sequence[int]):
        if len(config.strides) != len(config.widths):
            raise ValueError(f"{len(config.widths)} widths, but {len(config.strides)} strides")
        if config.dim % config.position_groups:
            raise ValueError(f"width {config.dim} is not a multiple of {config.position_groups} position_groups")
        super().__init__(config, channels, size, config.grid(channels, size))
        dim, block, last = config.dim, config.block, config.widths[-1]
        sizes = zip((channels, *config.widths), config.widths, config.strides, strict=False)
        bias = config.convolution_bias
        convolutions = [nn.Conv1d(before, width, stride, stride, bias=bias) for before, width, stride in sizes]
        self.convolutions = nn.ModuleList(convolutions)
        self.over_time = nn.GroupNorm(config.widths[0], config.widths[0])  # of each channel of the first convolution
        self.token_norm = build_norm(block, last)
        self.project = nn.Identity() if last == dim else nn.Linear(last, dim)
        kernel, groups = config.position_kernel, config.position_groups
        self.positions = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        self.transformer = Transformer(block, dim, config.depth, config.heads)
        self.norm = build_norm(block, dim)
        initialise(self)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        nn.init.normal_(self.positions.weight, std=sqrt(4 / (kernel * dim)))
        nn.init.zeros_(self.positions.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, *, start: Tensor | None = None) -> Packed:
        """x: (B, C, T) -> tokens (B * N, D). start is ignored."""
        if x.shape[1] != self.channels:
            raise ValueError(f"input has {x.shape[1]} channels, the encoder was built for {self.channels}")
        self.grid_of(x)
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.gelu(x if number else self.over_time(x))
        tokens = self.project(self.token_norm(x.transpose(1, 2)))  # (B, N, D)
        places = self.positions(tokens.transpose(1, 2))[..., : tokens.shape[1]]  # an even kernel gives one more
        tokens = tokens + F.gelu(places).transpose(1, 2)
        layout, first = Layout(tokens.shape[0], tokens.shape[1]), self.config.block.norm_first
        values = self.transformer(layout.pack(tokens if first else self.norm(tokens)), layout)
        return Packed(self.norm(values) if first else values, layout)
