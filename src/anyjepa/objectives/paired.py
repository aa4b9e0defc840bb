"""Paired prediction: predict the second sample of a pair from the first and, optionally, a condition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from anyjepa.config import Config, Width
from anyjepa.diagnostics.prediction import Examined
from anyjepa.nn.conditional import ConditionalPredictor, ConditionalPredictorConfig
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.packing import Layout, Packed
from anyjepa.objectives.base import Objective, ObjectiveConfig, Weights
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import AnyDistance, DistanceConfig, Losses, distance
from anyjepa.objectives.regularisers import AnyRegulariser, Rows, VicregConfig, prediction_weight, regularise
from anyjepa.objectives.targets import AnyTarget, SeparateConfig, SharedConfig, Teacher, target_tokens


class ProjectorConfig(Config):
    """Linear layers with BatchNorm and ReLU between them, on a sample's mean token; discarded after training."""

    widths: tuple[Width, ...] = Field(
        default=(2048, 2048, 2048), min_length=1, max_length=16, description="output width of each layer"
    )


class PairedPredictionConfig(ObjectiveConfig):
    """Encoder, projector, predictor, target and regulariser of a model of pairs."""

    kind: Literal["paired"] = "paired"
    encoder: AnyEncoder
    projector: ProjectorConfig | None = Field(
        default=None, description="compare projected mean tokens; none: compare every token"
    )
    predictor: ConditionalPredictorConfig | None = Field(
        default=None,
        description="models the effect of the condition; none: both samples of a pair should have the same "
        "representation",
    )
    target: AnyTarget = SharedConfig()
    distance: AnyDistance = DistanceConfig(kind="l2")
    regulariser: AnyRegulariser | None = VicregConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(encoder.out != encoder.dim for encoder in (self.encoder, self.second) if encoder is not None):
            raise ValueError("encoder.levels is for masked prediction; leave it out")
        if self.second is not None and (self.projector is not None or self.predictor is None):
            raise ValueError(
                "target.encoder goes with a predictor and without a projector: tokens of one modality are predicted "
                "from tokens of the other"
            )
        if self.second is not None and self.second.dim != self.encoder.dim:
            raise ValueError(
                f"target.encoder.dim must equal encoder.dim, which is {self.encoder.dim}, not {self.second.dim}"
            )
        return self

    @property
    def second(self) -> AnyEncoder | None:
        """The encoder of the second sample, if it is of another modality."""
        return self.target.encoder if isinstance(self.target, SeparateConfig) else None

    def build(self, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> PairedPrediction:
        return PairedPrediction(self, channels, size, other)

    def build_predictor(self, grid: Sequence[int]) -> nn.Module | None:
        return None if self.predictor is None else ConditionalPredictor(self.predictor, self.width)

    @property
    def width(self) -> int:
        """Width of the compared vectors."""
        return self.encoder.dim if self.projector is None else self.projector.widths[-1]


class Branch(nn.Module):
    """An encoder, followed by the projector if there is one."""

    def __init__(self, config: PairedPredictionConfig, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        self.projector = None if config.projector is None else _projector(config.projector, self.encoder.dim)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Packed:
        """x: (B, C, *samples) -> the vectors to compare: all tokens (B * N, D), or their projected mean (B, P)."""
        tokens = self.encoder(x, start=start)
        if self.projector is None:
            return tokens
        return Packed(self.projector(tokens.padded().mean(1)), Layout(len(x), 1))


class PairedPrediction(Objective):
    """Predict the representation of a pair's second sample from the first one's and the condition.

    Pairs may be two views of an image, without a condition (VICReg; Bardes et al. 2022), a cell before and after a
    perturbation, or a cell's expression and its proteins, which have their own encoder.

    channels: C; size: samples along each axis; other: the same for the second sample, if it is of another modality.
    Raises ValueError if the sizes do not fit together.
    """

    pairs = True

    def __init__(
        self, config: PairedPredictionConfig, channels: int, size: Sequence[int], other: Sequence[int] | None = None
    ):
        super().__init__()
        if (config.second is None) != (other is None):
            raise ValueError("objective.target.encoder and data of a second modality (data.proteins) go together")
        self.config, self.adds_up = config, config.regulariser is None
        self.branch = Branch(config, config.encoder.build(channels, size))
        self.predictor = None if config.predictor is None else ConditionalPredictor(config.predictor, config.width)
        second = config.second or config.encoder
        self.target = config.target.build(self.branch, lambda: Branch(config, second.build(channels, other or size)))
        if isinstance(self.target, Branch) and len(set(map(prod, (self.student.grid, self.target.encoder.grid)))) > 1:
            raise ValueError(
                f"the encoder gives {prod(self.student.grid)} tokens, target.encoder {prod(self.target.encoder.grid)}; "
                "tokens are predicted from tokens, so both encoders need the same number"
            )

    @property
    def student(self) -> Encoder:  # type: ignore[override]
        return self.branch.encoder

    def forward(self, batch: Batch) -> Losses:
        """The mean distance between the predicted and the target tokens of the second samples."""
        config, losses, pair = self.config, Losses(), batch.pair
        assert pair is not None, "paired prediction needs pairs"
        s_x = self.branch(batch.x).padded()  # (B, N, D)
        predicted = s_x if self.predictor is None else self.predictor(s_x, pair.condition, pair.valid)  # (B, N, D)
        learns = config.target.gradient or config.regulariser is not None
        s_y = target_tokens(self.target, self.branch, pair.other, gradient=learns)  # (B, N, D)
        target = s_y if config.target.gradient else s_y.detach()
        count = batch.samples * s_y.shape[1]
        loss = distance(config.distance, predicted.flatten(0, 1), target.flatten(0, 1)) / count
        losses.add("prediction", prediction_weight(config.regulariser) * loss)
        losses.watch(config.distance.watched(loss, s_y.shape[-1]))
        branches = [Rows.of(predicted)] + ([] if self.teacher else [Rows.of(s_y)])
        losses.extend(regularise(config.regulariser, branches, *s_y.shape[:2]))
        return losses

    @property
    def teacher(self) -> Teacher | None:
        return self.target if isinstance(self.target, Teacher) else None

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        return {} if self.teacher is None else self.teacher.begin_step(self.branch, step, steps)

    def end_step(self) -> None:
        if self.teacher is not None:
            self.teacher.end_step(self.branch)

    def encoders(self) -> dict[Weights, Encoder]:
        if self.teacher is not None:
            return {"teacher": self.teacher.encoder.encoder, "student": self.student}
        if isinstance(self.target, Branch) and self.config.second is None:
            return {"target": self.target.encoder, "student": self.student}
        return {"student": self.student}

    def parts(self) -> dict[str, nn.Module]:
        second = self.target.encoder if isinstance(self.target, Branch) and self.config.second else None
        parts = {**super().parts(), "predictor": self.predictor, "second": second}
        return {name: part for name, part in parts.items() if part is not None}

    def examine(self, batch: Batch) -> Examined:
        pair = batch.pair
        assert pair is not None, "paired prediction needs pairs"
        s_x = self.branch(batch.x).padded()
        predicted = s_x if self.predictor is None else self.predictor(s_x, pair.condition, pair.valid)
        s_y = Rows.of(target := target_tokens(self.target, self.branch, pair.other))
        changes = self.predictor is not None and self.config.second is None
        unchanged = target_tokens(self.target, self.branch, batch.x) if changes else None
        compare = partial(distance, self.config.distance)
        return Examined(predicted.flatten(0, 1), s_y.z, s_y.position, s_y.sample, target, compare, unchanged)


def _projector(config: ProjectorConfig, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in pairwise((dim, *config.widths)):
        layers += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
