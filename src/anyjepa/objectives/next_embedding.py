"""Next-embedding prediction (NEPA): a causal encoder predicts the embedding of the next patch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from anyjepa.config import Share
from anyjepa.diagnostics.collapse import stride
from anyjepa.diagnostics.prediction import Examined
from anyjepa.nn.encoder import Encoder, check_sees_parts
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.base import Objective, ObjectiveConfig, Weights
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import Losses
from anyjepa.objectives.regularisers import Rows
from anyjepa.objectives.targets import follow


class NextEmbeddingConfig(ObjectiveConfig):
    """Encoder, horizon and weight average of a next-embedding model. It has no teacher, predictor or masks."""

    kind: Literal["next_embedding"] = "next_embedding"
    encoder: AnyEncoder
    horizon: PositiveInt = Field(default=1, description="how many patches ahead to predict")
    ema: Share | None = Field(
        default=None,
        lt=1,
        description="decay per step of a moving average of the weights, which starts after the first step and becomes "
        "the model; training does not use it; none: no average",
    )

    @model_validator(mode="after")
    def _causal(self) -> NextEmbeddingConfig:
        check_sees_parts(self.encoder)
        if not self.encoder.causal:
            raise ValueError("encoder.causal must be true: a token that sees the next one has nothing to predict")
        if not isinstance(self.encoder, ViTConfig):
            return self
        if not (self.encoder.cls or self.encoder.registers):
            raise ValueError("encoder.cls must be true: the token in front predicts the first patch")
        if self.encoder.absent:
            raise ValueError("encoder.absent must be false: what an absent channel will be cannot be predicted")
        if self.encoder.block.norm != "layer":
            raise ValueError("encoder.block.norm must be layer: a BatchNorm mixes later tokens into earlier ones")
        if self.encoder.positions.kind != "rotary":
            raise ValueError("encoder.positions.kind must be rotary: targets are patches without positions")
        return self

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if the horizon is longer than the input."""
        if self.horizon >= prod(grid):
            raise ValueError(f"objective.horizon {self.horizon} must be less than the {prod(grid)} patches of an input")

    def build(self, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> NextEmbeddingPrediction:
        return NextEmbeddingPrediction(self, channels, size)


class NextEmbeddingPrediction(Objective):
    """Predict the embedding of the patch `horizon` places ahead from each output (Xu et al. 2025, section 3).

    Targets are the encoder's own projected patches, before positions and without gradient; only this stop-gradient
    prevents collapse. The last token before the patches (CLS) predicts patch `horizon` and is never a target.

    channels: C; size: samples along each axis of a full input. Raises ValueError for a horizon beyond it.
    """

    student: Any  # an encoder with a method `embed`

    def __init__(self, config: NextEmbeddingConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config = config
        self.student = config.encoder.build(channels, size)
        if not hasattr(self.student, "embed"):
            raise ValueError(
                f"{config.encoder.kind}: its encoder has no method embed(x), the patches (B, N, D) before the network, "
                "which next-embedding prediction predicts"
            )
        config.check(self.student.grid)
        self.average = None if config.ema is None else copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, batch: Batch) -> Losses:
        """Negative cosine similarity, averaged over all predictions: -1 means perfect, or collapsed.

        Watched next to it: the scores of repeating the current patch and of predicting the batch's mean patch.
        """
        ahead, losses = self.config.horizon, Losses()
        prefix, outputs = self.student.features(batch.x, batch.start)  # (B, R, D), (B, N, D)
        with torch.no_grad():
            patches = self.student.embed(batch.x).float()  # (B, N, D)
        predicted = torch.cat([prefix[:, -1:], outputs], 1)[:, :-ahead].float()  # (B, N + 1 - horizon, D)
        target = patches[:, ahead - 1 :]  # (B, N + 1 - horizon, D)
        count = batch.samples * target.shape[1]
        losses.add("prediction", -F.cosine_similarity(predicted, target, dim=-1).sum() / count)
        repeat = F.cosine_similarity(patches[:, :-ahead], patches[:, ahead:], dim=-1).sum()
        losses.watch({"repeat": -repeat / (batch.samples * (patches.shape[1] - ahead))})
        mean = F.cosine_similarity(patches.mean((0, 1)), patches, dim=-1).sum()
        losses.watch({"mean": -mean / (batch.samples * patches.shape[1])})
        return losses

    def encoders(self) -> dict[Weights, Encoder]:
        return {"student": self.student} if self.average is None else {"average": self.average, "student": self.student}

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        self._step = step
        return {}

    def end_step(self) -> None:
        if self.average is not None and self.config.ema is not None:
            decay = self.config.ema if self._step else 0.0  # the initial weights do not count
            follow(self.average, self.student, decay)

    @torch.no_grad()
    def representations(self, x: Tensor, start: Tensor | None = None) -> dict[str, Tensor]:
        """From the trained weights: projected patches, where collapse starts in this objective, the outputs at the same
        places, and each sample's mean output."""
        embedded, outputs = self.student.embed(x).float(), self.student.features(x, start)[1].float()
        step = stride(embedded[..., 0].numel() // 2048, embedded.shape[1])
        tokens = {"embedding": embedded, "output": outputs}
        return {name: z.flatten(0, 1)[::step] for name, z in tokens.items()} | {"student": outputs.mean(1)}

    def examine(self, batch: Batch) -> Examined:
        """Distances are 1 - cosine, so that a perfect prediction has distance 0."""
        ahead, tokens = self.config.horizon, self.student.embed(batch.x).float()  # (B, N, D)
        prefix, outputs = self.student.features(batch.x, batch.start)
        predicted = torch.cat([prefix[:, -1:], outputs], 1)[:, :-ahead]
        target = Rows.of(tokens[:, ahead - 1 :])
        position = target.position + ahead - 1
        return Examined(predicted.flatten(0, 1), target.z, position, target.sample, tokens, _one_minus_cosine)


def _one_minus_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(predicted.float(), target.float(), dim=-1)).sum()
