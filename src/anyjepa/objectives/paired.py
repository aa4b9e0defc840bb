"""Paired prediction: what a sample becomes, from what it was and, if there is one, a condition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal, Self

from pydantic import Field, model_validator
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
from anyjepa.objectives.targets import SeparateConfig, SharedConfig, TargetConfig, Teacher


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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.second is not None and (self.projector is not None or self.predictor is None):
            raise ValueError(
                "target.encoder goes with a predictor and without a projector: tokens of one modality are predicted "
                "from those of another"
            )
        if self.second is not None and self.second.dim != self.encoder.dim:
            raise ValueError(
                f"target.encoder.dim must be that of the encoder, {self.encoder.dim}, not {self.second.dim}"
            )
        return self

    @property
    def second(self) -> AnyEncoderConfig | None:
        """The encoder of what a sample is paired with, where that is of another modality."""
        return self.target.encoder if isinstance(self.target, SeparateConfig) else None

    @property
    def masks(self) -> None:
        """Nothing is hidden."""

    @property
    def width(self) -> int:
        """Of what is compared."""
        return self.encoder.dim if self.projector is None else self.projector.widths[-1]


class Branch(nn.Module):
    """An encoder and the projector behind it."""

    def __init__(self, config: PairedPredictionConfig, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        self.projector = None if config.projector is None else _projector(config.projector, self.encoder.dim)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Packed:
        """x: (B, C, *samples) -> what is compared: all tokens (B * N, D), or the projected mean of them (B, P)."""
        tokens = self.encoder(x, start=start)
        if self.projector is None:
            return tokens
        return Packed(self.projector(tokens.padded().mean(1)), Layout(len(x), 1))


class PairedPrediction(TargetedObjective):
    """Predict the representation of a pair's second sample from that of the first and from the condition.

    Two views of an image, without a condition (VICReg; Bardes et al. 2022); a cell before and after a perturbation; a
    cell's expression and its proteins, which have an encoder of their own.
    channels: C; size: samples along each axis; other: those of the second sample, where it is of another modality.
    ValueError if the sizes do not fit together.
    """

    pairs = True

    def __init__(
        self, config: PairedPredictionConfig, channels: int, size: Sequence[int], other: Sequence[int] | None = None
    ):
        super().__init__()
        if (config.second is None) != (other is None):
            raise ValueError("objective.target.encoder and data of a second modality (data.proteins) go together")
        self.config = config
        self.branch = Branch(config, build_encoder(config.encoder, channels, size))
        self.predictor = None if config.predictor is None else ConditionalPredictor(config.predictor, config.width)
        second = config.second or config.encoder
        self.set_target(self.branch, lambda: Branch(config, build_encoder(second, channels, other or size)))
        if isinstance(self.target, Branch) and len(set(map(prod, (self.student.grid, self.target.encoder.grid)))) > 1:
            raise ValueError(
                f"the encoder gives {prod(self.student.grid)} tokens, target.encoder {prod(self.target.encoder.grid)}; "
                "tokens are predicted from tokens, so both need as many"
            )

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
        """x: (B, C, *samples), the first of each pair; pair: the second, and the condition."""
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
        if isinstance(self.target, Branch) and self.config.second is None:
            return {"target": self.target.encoder, "student": self.student}
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        second = self.target.encoder if isinstance(self.target, Branch) and self.config.second else None
        found = {**super().parts(), "predictor": self.predictor, "second": second}
        return {name: part for name, part in found.items() if part is not None}

    def _taught(self) -> nn.Module:
        return self.branch


def _projector(config: ProjectorConfig, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in pairwise((dim, *config.widths)):
        layers += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
