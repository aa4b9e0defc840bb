"""A small residual network, for objectives whose encoder sees the whole input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from anyjepa.config import Width
from anyjepa.nn.encoder import Encoder, WholeInputConfig
from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.tokens import token_grid

# With fewer channels in channels-last order, oneDNN (PyTorch 2.13, AVX2) writes outside of its memory in the gradient
# of the shortcut's convolution of kernel 1 and stride 2.
NARROW = 8


class ConvConfig(WholeInputConfig):
    """ResNet of basic blocks (He et al. 2016) over 1 or 2 axes; the defaults are ResNet-18 as used for 32 x 32 pixels.

    A token is a place in the last feature map.
    """

    kind: Literal["conv"] = "conv"
    axes: Literal[1, 2] = Field(default=2, description="axes of the input: 1 for signals, 2 for images")
    widths: tuple[Width, ...] = Field(
        default=(64, 128, 256, 512),
        min_length=1,
        max_length=8,
        description="channels of each stage; every stage but the first halves the map",
    )
    blocks: PositiveInt = Field(default=2, le=64, description="basic blocks per stage")
    stem: tuple[PositiveInt, PositiveInt] = Field(
        default=(3, 1), description="kernel (odd, at most 63) and stride of the first convolution"
    )
    heads: PositiveInt = Field(default=8, description="attention heads of an attentive probe on the tokens")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kernel, stride = self.stem
        if kernel % 2 == 0 or kernel > 63 or stride > kernel:
            raise ValueError(f"stem {self.stem}: a kernel is odd, at most 63, and not shorter than its stride")
        return self

    @property
    def dim(self) -> int:
        return self.widths[-1]

    @property
    def patch(self) -> tuple[int, ...]:
        """Samples from one token to the next."""
        return (self.stem[1] * 2 ** (len(self.widths) - 1),) * self.axes

    def build(self, channels: int, size: Sequence[int]) -> ConvEncoder:
        return ConvEncoder(self, channels, size)


class ConvEncoder(Encoder):
    """Convolutions with BatchNorm and ReLU. Every token sees its neighbourhood, so none can be hidden."""

    config: ConvConfig

    def __init__(self, config: ConvConfig, channels: int, size: Sequence[int]):
        super().__init__(config, channels, size, token_grid(size, config.patch))
        kernel, stride = config.stem
        self.stem = _convolution(config.axes, channels, config.widths[0], kernel, stride)
        pairs = zip((config.widths[0], *config.widths), config.widths, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    BasicBlock(config.axes, before if block == 0 else width, width, 2 if stage and block == 0 else 1)
                    for block in range(config.blocks)
                )
            )
            for stage, (before, width) in enumerate(pairs)
        )
        for part in self.modules():
            if isinstance(part, (nn.Conv1d, nn.Conv2d)) and not part.weight.is_meta:  # see `AdditivePositions`
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, *, start: Tensor | None = None) -> Packed:
        """x: (B, C, *samples) -> tokens (B * N, D) in raster order. start is ignored: there are no positions."""
        if x.shape[1] != self.channels:
            raise ValueError(f"input has {x.shape[1]} channels, the encoder was built for {self.channels}")
        token_grid(x.shape[2:], self.config.patch)
        if x.ndim == 4 and min(self.config.widths) >= NARROW:
            x = x.contiguous(memory_format=torch.channels_last)  # the order in which CPUs convolve fastest
        x = self.stem(x).relu()
        for stage in self.stages:
            x = stage(x)
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, D)
        return Packed(tokens.flatten(0, 1), Layout(tokens.shape[0], tokens.shape[1]))


class BasicBlock(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x)))))). If shapes differ, the shortcut is a convolution of kernel 1."""

    def __init__(self, axes: int, before: int, width: int, stride: int):
        super().__init__()
        self.first = _convolution(axes, before, width, 3, stride)
        self.second = _convolution(axes, width, width, 3, 1)
        same = before == width and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(axes, before, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, before, *map) -> (B, width, *map / stride)."""
        return (self.shortcut(x) + self.second(self.first(x).relu())).relu()


def _convolution(axes: int, before: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    convolution, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}[axes]
    return nn.Sequential(convolution(before, width, kernel, stride, kernel // 2, bias=False), norm(width))
