"""A part of each family, as a user writes it: tests pass this file to `--import`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.packing import Layout, Packed, gather_rows
from anyjepa.nn.pooling import ClassifierHead, Head
from anyjepa.nn.predictor import MaskedPredictorConfig
from anyjepa.nn.tokens import patchify, token_grid
from anyjepa.objectives.base import Objective, ObjectiveConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import Distance, Losses
from anyjepa.objectives.targets import Target


class Mixer(EncoderConfig):
    """Patches, each through an MLP, and the mean of those before it."""

    patch: tuple[PositiveInt, ...] = (8, 8)
    dim: PositiveInt = 16
    depth: PositiveInt = Field(default=2, description="layers of the MLP")
    heads: PositiveInt = 2
    causal: ClassVar[bool] = True
    absent: ClassVar[bool] = False
    positions: ClassVar[None] = None

    def build(self, channels: int, size: Sequence[int]) -> Encoder:
        return MixerEncoder(self, channels, size)


class MixerEncoder(Encoder):
    def __init__(self, config: Mixer, channels: int, size: Sequence[int]):
        super().__init__(config, channels, size, token_grid(size, config.patch))
        self.project = nn.Linear(channels * torch.Size(config.patch).numel(), config.dim)
        self.mlp = nn.Sequential(
            *(nn.Sequential(nn.Linear(config.dim, config.dim), nn.GELU()) for _ in range(config.depth))
        )

    def embed(self, x: Tensor) -> Tensor:
        return self.project(patchify(x, self.config.patch))

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        valid: Tensor | None = None,
        start: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Packed:
        tokens = self.embed(x)  # (B, N, D)
        if shown is not None:
            tokens = tokens * shown.unsqueeze(-1)
        if keep is not None:
            tokens = gather_rows(tokens, keep)  # (B, K, D)
        layout = Layout(len(tokens), tokens.shape[1], valid)
        return Packed(layout.pack(self.mixed(tokens)), layout)

    def mixed(self, tokens: Tensor) -> Tensor:
        count = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)[:, None]
        return self.mlp(tokens) + tokens.cumsum(1) / count

    def features(self, x: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.new_zeros(len(x), 1, self.dim), self.mixed(self.embed(x))


class FixedTarget(Target):
    """The tokens of an encoder that is never trained."""

    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
        return new().requires_grad_(False)


class LogCosh(Distance):
    scale: PositiveInt = 2

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return torch.log(torch.cosh(self.scale * (predicted - target))).mean(-1).sum()


class Pointwise(MaskedPredictorConfig):
    """The mean of the visible tokens and the position of the target, through one layer."""

    def build(self, encoder: EncoderConfig, grid: Sequence[int], residual_depth: int | None = None) -> nn.Module:
        return PointwisePredictor(encoder.dim, torch.Size(grid).numel())


class PointwisePredictor(nn.Module):
    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.places, self.layer = nn.Parameter(torch.randn(tokens, dim)), nn.Linear(dim, dim)

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
        seen = context.padded().mean(1)[:, None, None]  # (B, 1, 1, D)
        predicted = self.layer(seen + gather_rows(self.places, target_index)).flatten(0, 2)
        return predicted if target_valid is None else predicted[target_valid.flatten()]


class Largest(ClassifierHead):
    """Class logits from the largest value of each dimension."""

    def build(self, dim: int, heads: int, outputs: int) -> Head:
        return LargestHead(self, dim, outputs)


class LargestHead(Head):
    def __init__(self, config: Largest, dim: int, outputs: int):
        super().__init__()
        self.config, self.layer = config, nn.Linear(dim, outputs)

    def forward(self, prefix: Tensor, patches: Tensor, valid: Tensor | None = None) -> Tensor:
        return self.layer(patches.amax(1))


class Spread(ObjectiveConfig):
    """Predict the spread of an image from its tokens."""

    encoder: AnyEncoder

    def build(self, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> Objective:
        return SpreadObjective(self, channels, size)

    def build_predictor(self, grid: Sequence[int]) -> nn.Module:
        return nn.Linear(self.encoder.dim, 1)


class SpreadObjective(Objective):
    def __init__(self, config: Spread, channels: int, size: Sequence[int]):
        super().__init__()
        self.config = config
        self.student = config.encoder.build(channels, size)
        self.head = nn.Linear(config.encoder.dim, 1)

    def forward(self, batch: Batch) -> Losses:
        losses = Losses()
        predicted = self.head(self.student(batch.x).padded().mean(1))[:, 0]
        losses.add("spread", (predicted - batch.x.flatten(1).std(1)).square().sum() / batch.samples)
        return losses

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "predictor": self.head}
