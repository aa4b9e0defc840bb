"""What is predicted: the representation that a teacher, the student itself, or a second encoder has of everything."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config, Share, usual_kind
from anyjepa.nn.encoders import AnyEncoderConfig


class TeacherConfig(Config):
    """An exponential moving average of the student (Grill et al. 2020)."""

    kind: Literal["teacher"] = "teacher"
    momentum: tuple[Share, Share] = Field(
        default=(0.998, 0.9995), description="share of itself a teacher keeps a step, from first to last step, linear"
    )
    update: Literal["before", "after"] = Field(
        default="before", description="before a step's forward (ECG-JEPA), or after the optimiser step (I-JEPA, V-JEPA)"
    )
    normalise: bool = Field(
        default=False, description="LayerNorm without parameters on the targets (I-JEPA, V-JEPA; eps 1e-5)"
    )

    def momentum_at(self, step: int, steps: int) -> float:
        """From the first value at step 0 to the last at step `steps`, then the last."""
        start, final = self.momentum
        return start + (final - start) * min(step / steps, 1.0)


class SharedConfig(Config):
    """The student itself; the gradient goes through both sides, so that only a regulariser resists collapse."""

    kind: Literal["shared"] = "shared"


class StopGradientConfig(Config):
    """The student itself; the distance to its targets has no gradient through them (Chen & He 2021).

    A regulariser's gradient does go through them: without, its terms on the targets would be idle.
    """

    kind: Literal["stop_gradient"] = "stop_gradient"


class SeparateConfig(Config):
    """A second encoder with weights of its own, trained by the gradient as the student is."""

    kind: Literal["separate"] = "separate"
    encoder: AnyEncoderConfig | None = Field(
        default=None, description="its shape, where pairs are of two modalities; none: as the student's"
    )


TargetConfig = Annotated[
    TeacherConfig | SharedConfig | StopGradientConfig | SeparateConfig,
    Field(discriminator="kind"),
    usual_kind("teacher"),
]


class Teacher(nn.Module):
    """Targets from a deep copy of the student. Never in training mode; its parameters have no gradient."""

    encoder: Any  # an encoder, or what has one and gives tokens as it does

    def __init__(self, config: TeacherConfig, student: nn.Module):
        super().__init__()
        self.config = config
        self.encoder = copy.deepcopy(student).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode: no dropout in targets."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """x: (B, C, *samples) -> targets of all tokens (B, N, D), float32."""
        targets = self.encoder(x, start=start).padded().float()
        return F.layer_norm(targets, targets.shape[-1:]) if self.config.normalise else targets

    def update(self, student: nn.Module, momentum: float) -> None:
        """teacher <- momentum x teacher + (1 - momentum) x student."""
        ema_update(list(self.encoder.parameters()), list(student.parameters()), momentum)
        for own, given in zip(self.encoder.buffers(), student.buffers(), strict=True):  # statistics of a BatchNorm
            own.copy_(given)


@torch.no_grad()
def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor], momentum: float) -> None:
    """In place: each average keeps `momentum` of itself and takes the rest from its value."""
    torch._foreach_lerp_(list(averages), list(values), 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]
