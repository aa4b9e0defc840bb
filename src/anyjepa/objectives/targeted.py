"""What objectives with a target have in common: the target's kinds, the teacher's steps, the terms of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anyjepa.objectives.base import Objective
from anyjepa.objectives.losses import Losses, distance
from anyjepa.objectives.regularisers import Rows, regularise
from anyjepa.objectives.targets import SeparateConfig, Teacher, TeacherConfig


class TargetedObjective(Objective):
    """Predictions are compared with targets as `config.target`, `config.distance` and `config.regulariser` say."""

    config: Any
    target: nn.Module | None

    def set_target(self, student: nn.Module, another: Callable[[], nn.Module]) -> None:
        """Before training. student: what a teacher copies; another: a new one like it."""
        self.adds_up, self.target = self.config.regulariser is None, None
        if isinstance(self.config.target, TeacherConfig):
            self.target = Teacher(self.config.target, student)
        elif isinstance(self.config.target, SeparateConfig):
            self.target = another()

    def targets(self, student: nn.Module, x: Tensor, start: Tensor | None = None) -> Tensor:
        """x: (B, C, *samples) -> the representation that is to be predicted, of all tokens (B, N, D), float32."""
        if isinstance(self.target, Teacher):
            return self.target(x, start)
        idle = self.config.target.kind == "stop_gradient" and self.config.regulariser is None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not idle):
            return (self.target or student)(x, start=start).padded().float()

    def answers(self, targets: Tensor) -> Tensor:
        """What predictions are compared with: the targets, with gradient where the kind lets it through."""
        return targets if self.config.target.kind in ("shared", "separate") else targets.detach()

    def compare(self, losses: Losses, predicted: Rows, answers: Tensor, count: int, targets: Tensor) -> None:
        """Add the prediction term, mean over the optimiser batch's `count` tokens, and a regulariser's terms.

        answers: (S, D), of the predicted rows; targets: (B, N, D), all of them. Watched beside an L2 distance, the mean
        over dims: `squared_error`, their sum.
        """
        regulariser = self.config.regulariser
        found = distance(self.config.distance, predicted.z, answers) / max(count, 1)  # without targets it is 0
        losses.add("prediction", found * (1 if regulariser is None else regulariser.invariance))
        if self.config.distance.kind == "l2":
            losses.watch("squared_error", found * answers.shape[-1])
        if regulariser is None:
            return
        branches = [predicted] if isinstance(self.target, Teacher) else [predicted, Rows.of(targets)]
        for name, term in regularise(regulariser, branches, *targets.shape[:2]).items():
            losses.add(name, term)

    def begin_step(self, step: int, steps: int) -> dict[str, float]:
        if not isinstance(self.target, Teacher):
            return {}
        self._momentum = self.target.config.momentum_at(step, steps)
        if self.target.config.update == "before":
            self.target.update(self._taught(), self._momentum)
        return {"momentum": self._momentum}

    def end_step(self) -> None:
        if isinstance(self.target, Teacher) and self.target.config.update == "after":
            self.target.update(self._taught(), self._momentum)

    def _taught(self) -> nn.Module:
        """What the teacher follows."""
        return self.student
