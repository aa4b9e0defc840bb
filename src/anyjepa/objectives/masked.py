"""Masked prediction: the objective of ECG-JEPA, I-JEPA and V-JEPA, and of their forms without a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config
from anyjepa.masks.base import Masks, members
from anyjepa.masks.sampling import MasksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.packing import Packed
from anyjepa.nn.predictor import AnyPredictorConfig, build_predictor
from anyjepa.nn.tokens import token_grid
from anyjepa.objectives.base import Objective, Weights
from anyjepa.objectives.losses import DistanceConfig, Losses, distance
from anyjepa.objectives.regularisers import RegulariserConfig, Rows, regularise
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


class MaskedPrediction(Objective):
    """Predict the target's representation of hidden tokens from the visible ones.

    ECG-JEPA (Weimann & Conrad 2024), I-JEPA (Assran et al. 2023) and V-JEPA (Bardes et al. 2024) are settings of it.
    channels: C; size: samples along each axis of a full input.
    """

    def __init__(self, config: MaskedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config, self.masks, self.adds_up = config, config.masks, config.regulariser is None
        self.student = Encoder(config.encoder, channels, size)
        depth = config.encoder.depth if config.encoder.init == "scaled" else None
        self.predictor = build_predictor(config.predictor, config.encoder, self.student.grid, depth)
        self.target = None
        if isinstance(config.target, TeacherConfig):
            self.target = Teacher(config.target, self.student)
        elif isinstance(config.target, SeparateConfig):
            self.target = Encoder(config.encoder, channels, size)

    def forward(
        self, x: Tensor, masks: Sequence[Masks], start: Tensor | None = None, samples: int | None = None
    ) -> Losses:
        """x: (B, C, *samples). One `Masks` for each group of targets; the loss is their mean.

        Each group's loss is its sum over target tokens divided by their number in the optimiser batch (`Masks.count`),
        so the sum over micro-batches and ranks is the loss of the whole batch. A regulariser adds its terms, and weighs
        this one. Watched beside an L2 loss, the mean over dims: `squared_error`, their sum.
        """
        config, grid = self.config, token_grid(x.shape[2:], self.config.encoder.patch)
        targets = self.targets(x, start)  # (B, N, D)
        answers = targets if config.target.kind in ("shared", "separate") else targets.detach()
        losses, found = Losses(), []
        for number, group in enumerate(masks):
            context, places = self.context(x, group, start)  # (sum K, D)
            if config.predictor.kind == "dense":
                group = group.everything(targets.shape[1], samples)
            predicted = self.predictor(
                context, places, group.targets, group.targets_valid, grid, start, number
            )  # (sum T, D)
            found.append(distance(config.distance, predicted, group.of(answers)) / group.count())
            losses.add("prediction", found[-1] * (config.regulariser.invariance if config.regulariser else 1))
            if config.regulariser is not None:
                branches = [Rows(predicted, *group.places())]
                if targets.requires_grad:
                    branches.append(Rows(targets.flatten(0, 1), *group.everything(targets.shape[1]).places()))
                for name, term in regularise(config.regulariser, branches, *targets.shape[:2]).items():
                    losses.add(name, term)
        if config.distance.kind == "l2":
            losses.watched["squared_error"] = torch.stack(found).mean().detach() * self.student.dim
        return losses

    def targets(self, x: Tensor, start: Tensor | None) -> Tensor:
        """x: (B, C, *samples) -> what all tokens are to be predicted as (B, N, D), float32."""
        if isinstance(self.target, Teacher):
            return self.target(x, start)
        idle = self.config.target.kind == "stop_gradient" and self.config.regulariser is None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not idle):
            return (self.target or self.student)(x, start=start).padded().float()

    def context(self, x: Tensor, group: Masks, start: Tensor | None) -> tuple[Packed, Tensor]:
        """What the predictor sees, (sum K, D), and at which tokens (B, K): visible ones; or all, hidden ones zero."""
        if self.config.hidden == "dropped":
            return self.student(x, group.context, group.context_valid, start), group.context
        tokens = token_grid(x.shape[2:], self.config.encoder.patch)
        shown = members(group.context, group.context_valid, prod(tokens))
        context = self.student(x, start=start, shown=shown)
        return context, torch.arange(prod(tokens), device=x.device).expand(len(x), -1)

    def encoders(self) -> dict[Weights, Encoder]:
        if isinstance(self.target, Teacher):
            return {"teacher": self.target.encoder, "student": self.student}
        # A second encoder has seen whole inputs, as its users will show it.
        return {"student": self.student} if self.target is None else {"target": self.target, "student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "predictor": self.predictor}

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        if not isinstance(self.target, Teacher):
            return {}
        self._momentum = self.target.config.momentum_at(step, steps)
        if self.target.config.update == "before":
            self.target.update(self.student, self._momentum)
        return {"momentum": self._momentum}

    def end_step(self) -> None:
        if isinstance(self.target, Teacher) and self.target.config.update == "after":
            self.target.update(self.student, self._momentum)
