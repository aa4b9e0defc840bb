"""The target: a teacher, the student itself, or a second encoder, which represents the whole input."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Share
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.packing import Packed
from anyjepa.parts import Kinds, Part


class Target(Part):
    """Base of targets: what the tokens are that an objective predicts.

    gradient: whether the gradient of the distance flows through the target.
    """

    gradient: ClassVar[bool] = False

    @abstractmethod
    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> nn.Module | None:
        """The module that represents a whole input: (x, start=start) -> tokens (B, N, D). None: the student itself.

        student: the encoder that the gradient trains, with its projector if it has one; new: makes an untrained one. A
        `Teacher` also follows the student. Parameters of other modules are trained if they require a gradient.
        """


class TeacherConfig(Target):
    """An exponential moving average of the student (Grill et al. 2020)."""

    kind: Literal["teacher"] = "teacher"
    momentum: tuple[Share, Share] = Field(
        default=(0.998, 0.9995),
        description="share of its weights that the teacher keeps per step; linear from first to last step",
    )
    update: Literal["before", "after"] = Field(
        default="before", description="before a step's forward (ECG-JEPA) or after the optimiser step (I-JEPA, V-JEPA)"
    )
    normalise: bool = Field(
        default=False,
        description="LayerNorm without parameters on the targets (I-JEPA, V-JEPA; eps 1e-5), on each level of an "
        "encoder by itself",
    )

    def momentum_at(self, step: int, steps: int) -> float:
        """The scheduled momentum: linear from step 0 to step `steps`, constant after that."""
        start, final = self.momentum
        return start + (final - start) * min(step / steps, 1.0)

    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
        return Teacher(self, student)


class SharedConfig(Target):
    """The student itself. The gradient flows through both sides, so only a regulariser prevents collapse."""

    kind: Literal["shared"] = "shared"
    gradient: ClassVar[bool] = True

    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> None:
        """The student itself."""


class StopGradientConfig(Target):
    """The student itself. The distance has no gradient through the targets (Chen & He 2021).

    A regulariser's gradient does flow through them; without it, its terms on the targets would have no effect.
    """

    kind: Literal["stop_gradient"] = "stop_gradient"

    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> None:
        """The student itself."""


class SeparateConfig(Target):
    """A second encoder with its own weights, trained by the gradient like the student."""

    kind: Literal["separate"] = "separate"
    gradient: ClassVar[bool] = True
    encoder: AnyEncoder | None = Field(
        default=None, description="its architecture, if pairs are of two modalities; none: the student's"
    )

    def build(self, student: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
        return new()


AnyTarget = Annotated[Target, Kinds(TeacherConfig, SharedConfig, StopGradientConfig, SeparateConfig, usual="teacher")]


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
        if not self.config.normalise:
            return targets
        width = self.encoder.dim if isinstance(self.encoder, Encoder) else targets.shape[-1]
        return F.layer_norm(targets.unflatten(-1, (-1, width)), (width,)).flatten(-2)

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
        follow(self.encoder, student, momentum)


def target_tokens(
    target: nn.Module | None, student: nn.Module, x: Tensor, start: Tensor | None = None, gradient: bool = True
) -> Tensor:
    """x: (B, C, *samples) -> the target's representation of all tokens, (B, N, D), float32.

    target: see `Target.build`; gradient: whether anything in the loss needs the gradient of these tokens.
    """
    encoder = student if target is None else target
    with torch.set_grad_enabled(torch.is_grad_enabled() and gradient):
        tokens = encoder(x, start=start)
        return (tokens.padded() if isinstance(tokens, Packed) else tokens).float()


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Update the weights of `average` by those of `module`, and copy its buffers."""
    ema_update(list(average.parameters()), list(module.parameters()), momentum)
    for own, new in zip(average.buffers(), module.buffers(), strict=True):  # statistics of a BatchNorm
        own.copy_(new)


@torch.no_grad()
def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor], momentum: float) -> None:
    """average <- momentum x average + (1 - momentum) x value, in place."""
    torch._foreach_lerp_(list(averages), list(values), 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]
