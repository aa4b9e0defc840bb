"""Masked prediction: the objective of ECG-JEPA, I-JEPA and V-JEPA, and of their forms without a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.masks.base import Masks, members
from anyjepa.masks.sampling import MasksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.packing import Packed
from anyjepa.nn.predictor import AnyPredictorConfig, build_predictor
from anyjepa.nn.tokens import token_grid
from anyjepa.objectives.base import Weights
from anyjepa.objectives.losses import DistanceConfig, Losses
from anyjepa.objectives.regularisers import RegulariserConfig, Rows
from anyjepa.objectives.targeted import TargetedObjective
from anyjepa.objectives.targets import SeparateConfig, TargetConfig, Teacher, TeacherConfig


class MaskedPredictionConfig(Config):
    """Encoder, predictor, masks, target and distance of one masked-prediction model."""

    kind: Literal["masked"] = "masked"
    encoder: EncoderConfig
    predictor: AnyPredictorConfig
    masks: MasksConfig = Field(default=SpanConfig(), description="which tokens are hidden")
    hidden: Literal["dropped", "zeroed"] = Field(
        default="dropped", description="hidden tokens are no part of the encoder's input, or zero vectors in it"
    )
    target: TargetConfig = TeacherConfig()
    distance: DistanceConfig = DistanceConfig()
    regulariser: RegulariserConfig | None = Field(
        default=None, description="what keeps predictions and targets apart, besides the prediction term"
    )

    @model_validator(mode="after")
    def _sized(self) -> MaskedPredictionConfig:
        self.predictor.sized(self.encoder)
        if isinstance(self.target, SeparateConfig) and self.target.encoder is not None:
            raise ValueError("target.encoder is of pairs of two modalities; here the target sees what the student does")
        return self


class MaskedPrediction(TargetedObjective):
    """Predict the target's representation of hidden tokens from the visible ones.

    ECG-JEPA (Weimann & Conrad 2024), I-JEPA (Assran et al. 2023) and V-JEPA (Bardes et al. 2024) are settings of it.
    channels: C; size: samples along each axis of a full input.
    """

    def __init__(self, config: MaskedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config, self.masks = config, config.masks
        self.student = Encoder(config.encoder, channels, size)
        depth = config.encoder.depth if config.encoder.init == "scaled" else None
        self.predictor = build_predictor(config.predictor, config.encoder, self.student.grid, depth)
        self.set_target(self.student, lambda: Encoder(config.encoder, channels, size))

    def forward(
        self, x: Tensor, masks: Sequence[Masks], start: Tensor | None = None, samples: int | None = None
    ) -> Losses:
        """x: (B, C, *samples). One `Masks` for each group of targets; the loss is their mean.

        Each group's loss is its sum over target tokens divided by their number in the optimiser batch (`Masks.count`),
        so the sum over micro-batches and ranks is the loss of the whole batch.
        """
        grid = token_grid(x.shape[2:], self.config.encoder.patch)
        targets = self.targets(self.student, x, start)  # (B, N, D)
        answers, losses = self.answers(targets), Losses()
        for number, group in enumerate(masks):
            context, places = self.context(x, group, start)  # (sum K, D)
            if self.config.predictor.kind == "dense":
                group = group.everything(prod(grid), samples)
            predicted = self.predictor(
                context, places, group.targets, group.targets_valid, grid, start, number
            )  # (sum T, D)
            self.compare(losses, Rows(predicted, *group.places()), group.of(answers), group.count(), targets)
        return losses

    def context(self, x: Tensor, group: Masks, start: Tensor | None) -> tuple[Packed, Tensor]:
        """What the predictor sees, (sum K, D), and at which tokens (B, K): visible ones; or all, hidden ones zero."""
        if self.config.hidden == "dropped":
            return self.student(x, group.context, group.context_valid, start), group.context
        tokens = prod(token_grid(x.shape[2:], self.config.encoder.patch))
        shown = members(group.context, group.context_valid, tokens)
        places = torch.arange(tokens, device=x.device).expand(len(x), -1)
        return self.student(x, start=start, shown=shown), places

    def encoders(self) -> dict[Weights, Encoder]:
        if isinstance(self.target, Teacher):
            return {"teacher": self.target.encoder, "student": self.student}
        if isinstance(self.target, Encoder):  # it has seen whole inputs, as its users will show it
            return {"target": self.target, "student": self.student}
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "predictor": self.predictor}
