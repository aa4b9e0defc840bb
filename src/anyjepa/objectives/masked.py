"""Masked prediction: the objective of ECG-JEPA, I-JEPA and V-JEPA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.masks.base import Masks
from anyjepa.masks.sampling import MasksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.predictor import MaskedPredictor, PredictorConfig
from anyjepa.nn.tokens import token_grid
from anyjepa.objectives.base import Objective, Weights
from anyjepa.objectives.losses import DistanceConfig, Losses, distance
from anyjepa.objectives.targets import Teacher, TeacherConfig


class MaskedPredictionConfig(Config):
    """Encoder, predictor, masks, target and distance of one masked-prediction model."""

    kind: Literal["masked"] = "masked"
    encoder: EncoderConfig
    predictor: PredictorConfig
    masks: MasksConfig = Field(default=SpanConfig(), description="which tokens are hidden")
    target: TeacherConfig = TeacherConfig()
    distance: DistanceConfig = DistanceConfig()


class MaskedPrediction(Objective):
    """Predict the target's representation of hidden tokens from the visible ones.

    ECG-JEPA (Weimann & Conrad 2024), I-JEPA (Assran et al. 2023) and V-JEPA (Bardes et al. 2024) are settings of it.
    channels: C; size: samples along each axis of a full input.
    """

    def __init__(self, config: MaskedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config, self.masks = config, config.masks
        self.student = Encoder(config.encoder, channels, size)
        depth = config.encoder.depth if config.encoder.init == "scaled" else None
        self.predictor = MaskedPredictor(config.predictor, config.encoder.dim, self.student.grid, depth)
        self.target = Teacher(config.target, self.student)

    def forward(
        self, x: Tensor, masks: Sequence[Masks], start: Tensor | None = None, samples: int | None = None
    ) -> Losses:
        """x: (B, C, *samples). One `Masks` for each group of targets; the loss is their mean.

        Each group's loss is its sum over target tokens divided by their number in the optimiser batch (`Masks.count`),
        so the sum over micro-batches and ranks is the loss of the whole batch. Watched beside an L2 loss, the mean over
        dims: `squared_error`, their sum.
        """
        grid = token_grid(x.shape[2:], self.config.encoder.patch)
        targets = self.target(x, start)  # (B, N, D), no gradient
        losses = Losses()
        for number, group in enumerate(masks):
            context = self.student(x, group.context, group.context_valid, start)  # (sum K, D), visible tokens only
            predicted = self.predictor(
                context, group.context, group.targets, group.targets_valid, grid, start, number
            )  # (sum T, D)
            losses.add("prediction", distance(self.config.distance, predicted, group.of(targets)) / group.count())
        if self.config.distance.kind == "l2":
            losses.watched["squared_error"] = losses.total().detach() * self.student.dim
        return losses

    def encoders(self) -> dict[Weights, Encoder]:
        return {"teacher": self.target.encoder, "student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "predictor": self.predictor}

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        self._momentum = self.config.target.momentum_at(step, steps)
        if self.config.target.update == "before":
            self.target.update(self.student, self._momentum)
        return {"momentum": self._momentum}

    def end_step(self) -> None:
        if self.config.target.update == "after":
            self.target.update(self.student, self._momentum)
