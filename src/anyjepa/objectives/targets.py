"""The target: a teacher, the student itself, or a second encoder, which represents the whole input."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config, Share, usual_kind
from anyjepa.nn.encoders import AnyEncoderConfig


class TeacherConfig(Config):
    """An exponential moving average of the student (Grill et al. 2020)."""

    kind: Literal["teacher"] = "teacher"
    gradient: ClassVar[bool] = False  # of the distance, through the target
    momentum: tuple[Share, Share] = Field(
        default=(0.998, 0.9995),
        description="share of its weights that the teacher keeps per step; linear from first to last step",
    )
    update: Literal["before", "after"] = Field(
        default="before", description="before a step's forward (ECG-JEPA) or after the optimiser step (I-JEPA, V-JEPA)"
    )
    normalise: bool = Field(
        default=False, description="LayerNorm without parameters on the targets (I-JEPA, V-JEPA; eps 1e-5)"
    )

    def momentum_at(self, step: int, steps: int) -> float:
        """The scheduled momentum: linear from step 0 to step `steps`, constant after that."""
        start, final = self.momentum
        return start + (final - start) * min(step / steps, 1.0)


class SharedConfig(Config):
    """The student itself. The gradient flows through both sides, so only a regulariser prevents collapse."""

    kind: Literal["shared"] = "shared"
    gradient: ClassVar[bool] = True


class StopGradientConfig(Config):
    """The student itself. The distance has no gradient through the targets (Chen & He 2021).

    A regulariser's gradient does flow through them; without it, its terms on the targets would have no effect.
    """

    kind: Literal["stop_gradient"] = "stop_gradient"
    gradient: ClassVar[bool] = False


class SeparateConfig(Config):
    """A second encoder with its own weights, trained by the gradient like the student."""

    kind: Literal["separate"] = "separate"
    gradient: ClassVar[bool] = True
    encoder: AnyEncoderConfig | None = Field(
        default=None, description="its architecture, if pairs are of two modalities; none: the student's"
    )


TargetConfig = Annotated[
    TeacherConfig | SharedConfig | StopGradientConfig | SeparateConfig,
    Field(discriminator="kind"),
    usual_kind("teacher"),
]


class Teacher(nn.Module):
    """A deep copy of the student that follows it as a moving average. Never in training mode, no gradient."""

    encoder: Any  # an encoder, or an encoder with a projector

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

    def begin_step(self, student: nn.Module, step: int, steps: int) -> dict[str, float]:
        """Called before an optimiser step: sets the momentum, and updates the teacher if its config says so."""
        self.momentum = self.config.momentum_at(step, steps)
        if self.config.update == "before":
            self.update(student, self.momentum)
        return {"momentum": self.momentum}

    def end_step(self, student: nn.Module) -> None:
        """Called after an optimiser step."""
        if self.config.update == "after":
            self.update(student, self.momentum)

    def update(self, student: nn.Module, momentum: float) -> None:
        """teacher <- momentum x teacher + (1 - momentum) x student."""
        ema_update(list(self.encoder.parameters()), list(student.parameters()), momentum)
        for own, new in zip(self.encoder.buffers(), student.buffers(), strict=True):  # statistics of a BatchNorm
            own.copy_(new)


def build_target(config: TargetConfig, student: nn.Module, new: Callable[[], nn.Module]) -> nn.Module | None:
    """The module behind a target, None for the student itself. new: makes an untrained encoder."""
    if isinstance(config, TeacherConfig):
        return Teacher(config, student)
    return new() if isinstance(config, SeparateConfig) else None


def target_tokens(
    target: nn.Module | None, student: nn.Module, x: Tensor, start: Tensor | None = None, gradient: bool = True
) -> Tensor:
    """x: (B, C, *samples) -> the target's representation of all tokens, (B, N, D), float32.

    target: see `build_target`; gradient: whether anything in the loss needs the gradient of these tokens.
    """
    if isinstance(target, Teacher):
        return target(x, start)
    encoder = student if target is None else target
    with torch.set_grad_enabled(torch.is_grad_enabled() and gradient):
        return encoder(x, start=start).padded().float()


@torch.no_grad()
def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor], momentum: float) -> None:
    """average <- momentum x average + (1 - momentum) x value, in place."""
    torch._foreach_lerp_(list(averages), list(values), 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]
