"""Masked prediction: the objective of I-JEPA, V-JEPA and ECG-JEPA, and of their variants without a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from anyjepa.diagnostics.prediction import Examined
from anyjepa.masks.base import Masks, members
from anyjepa.masks.kinds import AnyMaskSampler
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.encoder import Encoder, check_sees_parts, check_takes
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.packing import Packed
from anyjepa.nn.predictor import AnyPredictor
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.base import Objective, ObjectiveConfig, Weights
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import AnyDistance, DistanceConfig, Losses, distance
from anyjepa.objectives.regularisers import AnyRegulariser, Rows, prediction_weight, regularise
from anyjepa.objectives.targets import AnyTarget, SeparateConfig, Teacher, TeacherConfig, target_tokens


class MaskedPredictionConfig(ObjectiveConfig):
    """Encoder, predictor, masks, target and distance of a masked-prediction model."""

    kind: Literal["masked"] = "masked"
    encoder: AnyEncoder
    predictor: AnyPredictor
    masks: AnyMaskSampler = Field(default=SpanConfig(), description="which tokens are hidden")
    hidden: Literal["dropped", "zeroed"] = Field(
        default="dropped", description="hidden tokens are left out of the encoder's input, or zero vectors in it"
    )
    target: AnyTarget = TeacherConfig()
    distance: AnyDistance = DistanceConfig()
    regulariser: AnyRegulariser | None = Field(
        default=None, description="keeps representations from collapsing, in addition to the prediction term"
    )

    @model_validator(mode="after")
    def _sized(self) -> MaskedPredictionConfig:
        check_sees_parts(self.encoder)
        self.predictor.sized(self.encoder)
        if isinstance(self.target, SeparateConfig) and self.target.encoder is not None:
            raise ValueError("target.encoder is for pairs of two modalities; in masked prediction leave it out")
        return self

    def check(self, grid: tuple[int, ...]) -> None:
        try:
            self.masks.check(grid)
        except ValueError as error:
            raise ValueError(f"objective.masks: {error}") from error

    def build(self, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> MaskedPrediction:
        return MaskedPrediction(self, channels, size)

    def build_predictor(self, grid: Sequence[int]) -> nn.Module:
        return self.predictor.build(self.encoder, grid)


class MaskedPrediction(Objective):
    """Predict the target's representation of hidden tokens from the visible ones.

    I-JEPA (Assran et al. 2023), V-JEPA (Bardes et al. 2024) and ECG-JEPA (Weimann & Conrad 2024) are settings of it.
    In I-JEPA's symbols: `student` is the context encoder f_theta, `predictor` is g_phi, and `target` is the target
    encoder, whose weights are a moving average of f_theta's. Without a teacher `target` is None, for the student
    itself, or a second encoder.

    channels: C; size: samples along each axis of a full input. Raises ValueError if the sizes do not fit together.
    """

    def __init__(self, config: MaskedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config, self.masks, self.adds_up = config, config.masks, config.regulariser is None
        self.student = config.encoder.build(channels, size)
        check_takes(self.student, *(("keep", "valid") if config.hidden == "dropped" else ("shown",)))
        encoder = config.encoder
        depth = encoder.depth if isinstance(encoder, ViTConfig) and encoder.init == "scaled" else None
        other = getattr(config.predictor, "out", None)
        if other not in (None, encoder.out):
            raise ValueError(
                f"objective.predictor.out is {other}, but the tokens to predict have {encoder.out} values; leave it out"
            )
        self.predictor = config.predictor.build(encoder, self.student.grid, depth)
        self.target = config.target.build(self.student, lambda: encoder.build(channels, size))

    def forward(self, batch: Batch) -> Losses:
        """The mean distance over the tokens j of all M blocks B_i, 1 / n sum_i sum_(j in B_i) d(predicted_j, s_y_j).

        n counts these tokens in the optimiser batch. A group of masks has its own context and mask token; the loss is
        the mean over groups (two in V-JEPA, one otherwise). A regulariser adds its terms.
        """
        config, losses = self.config, Losses()
        grid = self.student.grid_of(batch.x)
        learns = config.target.gradient or config.regulariser is not None
        s_y = target_tokens(self.target, self.student, batch.x, batch.start, learns)  # (B, N, D)
        for number, (masks, count) in enumerate(zip(batch.masks, batch.targets, strict=True)):
            s_x, places = self.context(batch.x, masks, batch.start)  # (sum K, D), (B, K)
            if config.predictor.everywhere:
                masks, count = masks.everything(prod(grid)), batch.samples * prod(grid)
            predicted = self.predictor(
                s_x, places, masks.targets, masks.targets_valid, grid, batch.start, number
            )  # (sum T, D), g_phi's predictions of the M blocks, one after the other
            target = masks.of(s_y if config.target.gradient else s_y.detach())  # (sum T, D)
            loss = distance(config.distance, predicted, target) / max(count, 1)
            losses.add("prediction", prediction_weight(config.regulariser) * loss)
            losses.watch(config.distance.watched(loss, target.shape[-1]))
            branches = [Rows(predicted, *masks.places())] + ([] if self.teacher else [Rows.of(s_y)])
            losses.extend(regularise(config.regulariser, branches, *s_y.shape[:2]))
        return losses

    def context(self, x: Tensor, masks: Masks, start: Tensor | None) -> tuple[Packed, Tensor]:
        """s_x, what the predictor sees, (sum K, D), and its token numbers (B, K).

        These are the visible tokens or, with hidden tokens as zero vectors, all tokens.
        """
        if self.config.hidden == "dropped":
            return self.student(x, keep=masks.context, valid=masks.context_valid, start=start), masks.context
        tokens = prod(self.student.grid_of(x))
        shown = members(masks.context, masks.context_valid, tokens)
        places = torch.arange(tokens, device=x.device).expand(len(x), -1)
        return self.student(x, start=start, shown=shown), places

    @property
    def teacher(self) -> Teacher | None:
        return self.target if isinstance(self.target, Teacher) else None

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        return {} if self.teacher is None else self.teacher.begin_step(self.student, step, steps)

    def end_step(self) -> None:
        if self.teacher is not None:
            self.teacher.end_step(self.student)

    def encoders(self) -> dict[Weights, Encoder]:
        if self.teacher is not None:
            return {"teacher": self.teacher.encoder, "student": self.student}
        if isinstance(self.target, Encoder):  # trained on whole inputs, which is what users will show it
            return {"target": self.target, "student": self.student}
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "predictor": self.predictor}

    def examine(self, batch: Batch) -> Examined:
        """Of the first group of masks."""
        masks, grid = batch.masks[0], self.student.grid_of(batch.x)
        s_x, places = self.context(batch.x, masks, batch.start)
        if self.config.predictor.everywhere:
            masks = masks.everything(prod(grid))
        predicted = self.predictor(s_x, places, masks.targets, masks.targets_valid, grid, batch.start)
        s_y = target_tokens(self.target, self.student, batch.x, batch.start)
        compare = partial(distance, self.config.distance)
        return Examined(predicted, masks.of(s_y), *masks.places(), s_y, compare, block=masks.blocks())
