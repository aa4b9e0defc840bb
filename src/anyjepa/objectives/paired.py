"""Paired prediction: what a sample becomes, from what it was and, if there is one, a condition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config, Width
from anyjepa.masks.base import Masks
from anyjepa.nn.conditional import ConditionalPredictor, ConditionalPredictorConfig
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoderConfig, build_encoder
from anyjepa.nn.packing import Layout, Packed
from anyjepa.objectives.base import Pair, Weights
from anyjepa.objectives.losses import DistanceConfig, Losses
from anyjepa.objectives.regularisers import RegulariserConfig, Rows, VicregConfig
from anyjepa.objectives.targeted import TargetedObjective
from anyjepa.objectives.targets import SharedConfig, TargetConfig, Teacher


class ProjectorConfig(Config):
    """Linear layers with BatchNorm and ReLU between, over a sample's mean token; thrown away after training."""

    widths: tuple[Width, ...] = Field(
        default=(2048, 2048, 2048), min_length=1, max_length=16, description="of each layer's output"
    )


class PairedPredictionConfig(Config):
    """Encoder, projector, predictor, target and regulariser of one model of pairs."""

    kind: Literal["paired"] = "paired"
    encoder: AnyEncoderConfig
    projector: ProjectorConfig | None = Field(
        default=None, description="what is compared: projected mean tokens; none: every token"
    )
    predictor: ConditionalPredictorConfig | None = Field(
        default=None, description="what the condition does; none: both of a pair are to have one representation"
    )
    target: TargetConfig = SharedConfig()
    distance: DistanceConfig = DistanceConfig(kind="l2")
    regulariser: RegulariserConfig | None = VicregConfig()

    @property
    def masks(self) -> None:
        """Nothing is hidden."""

    @property
    def width(self) -> int:
        """Of what is compared."""
        return self.encoder.dim if self.projector is None else self.projector.widths[-1]


class Branch(nn.Module):
    """An encoder and the projector behind it."""

    def __init__(self, config: PairedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.encoder = build_encoder(config.encoder, channels, size)
        self.projector = None if config.projector is None else _projector(config.projector, self.encoder.dim)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Packed:
        """x: (B, C, *samples) -> what is compared: all tokens (B * N, D), or the projected mean of them (B, P)."""
        tokens = self.encoder(x, start=start)
        if self.projector is None:
            return tokens
        return Packed(self.projector(tokens.padded().mean(1)), Layout(len(x), 1))


class PairedPrediction(TargetedObjective):
    """Predict the representation of a pair's second sample from that of the first and from the condition.

    Two views of an image, without a condition (VICReg; Bardes et al. 2022); a cell before and after a perturbation.
    channels: C; size: samples along each axis.
    """

    pairs = True

    def __init__(self, config: PairedPredictionConfig, channels: int, size: Sequence[int]):
        super().__init__()
        self.config = config
        self.branch = Branch(config, channels, size)
        self.predictor = None if config.predictor is None else ConditionalPredictor(config.predictor, config.width)
        self.set_target(self.branch, lambda: Branch(config, channels, size))

    @property
    def student(self) -> Encoder:  # type: ignore[override]
        return self.branch.encoder

    def forward(
        self,
        x: Tensor,
        masks: Sequence[Masks] = (),
        start: Tensor | None = None,
        samples: int | None = None,
        pair: Pair | None = None,
    ) -> Losses:
        """x: (B, C, *samples), the first of each pair; pair: the second, alike, and the condition."""
        assert pair is not None, "paired prediction needs pairs"
        context = self.branch(x).padded()  # (B, N, D)
        predicted = context if self.predictor is None else self.predictor(context, pair.condition, pair.valid)
        targets, losses = self.targets(self.branch, pair.other), Losses()
        batch, tokens, _ = predicted.shape
        rows = Rows.of(predicted)
        self.compare(losses, rows, self.answers(targets).flatten(0, 1), (samples or batch) * tokens, targets)
        return losses

    def encoders(self) -> dict[Weights, Encoder]:
        if isinstance(self.target, Teacher):
            return {"teacher": self.target.encoder.encoder, "student": self.student}
        if isinstance(self.target, Branch):
            return {"target": self.target.encoder, "student": self.student}
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        return super().parts() if self.predictor is None else {**super().parts(), "predictor": self.predictor}

    def _taught(self) -> nn.Module:
        return self.branch


def _projector(config: ProjectorConfig, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in pairwise((dim, *config.widths)):
        layers += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
