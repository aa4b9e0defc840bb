"""Distances between predicted and target representations, and the loss terms that an objective returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

import torch.nn.functional as F
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.parts import Kinds, Part


class Distance(Part):
    """Base of distances between predicted tokens and their targets."""

    @abstractmethod
    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        """predicted, target: (S, D) float32 -> the sum over the S tokens of each token's distance, a scalar."""

    def watched(self, loss: Tensor, width: int) -> dict[str, Tensor]:
        """Values to log next to the loss of vectors of `width` dimensions, by name; here none."""
        return {}


class DistanceConfig(Distance):
    """The distance between a predicted token and its target."""

    kind: Literal["l1", "l2", "smooth_l1", "cosine"] = Field(
        default="l1", description="mean over dimensions of |d|, d^2 or smooth L1; or 1 - cosine similarity"
    )
    beta: PositiveFloat = Field(default=1.0, description="smooth L1 only: quadratic below this difference")

    @model_validator(mode="after")
    def _beta_has_an_effect(self) -> Self:
        if self.kind != "smooth_l1" and self.beta != 1:
            raise ValueError(f"beta is for kind smooth_l1, and kind is {self.kind}; leave beta out")
        return self

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        if self.kind == "cosine":
            return (1 - F.cosine_similarity(predicted, target, dim=-1)).sum()
        if self.kind == "l1":
            total = F.l1_loss(predicted, target, reduction="sum")
        elif self.kind == "l2":
            total = F.mse_loss(predicted, target, reduction="sum")
        else:
            total = F.smooth_l1_loss(predicted, target, reduction="sum", beta=self.beta)
        return total / predicted.shape[-1]

    def watched(self, loss: Tensor, width: int) -> dict[str, Tensor]:
        """The squared error summed over dimensions, not averaged."""
        return {"squared_error": loss * width} if self.kind == "l2" else {}


AnyDistance = Annotated[Distance, Kinds(DistanceConfig, usual="l1")]


def distance(config: Distance, predicted: Tensor, target: Tensor) -> Tensor:
    """predicted, target: (S, D) of any precision -> the sum over tokens (S) of each token's distance, float32."""
    return config(predicted.float(), target.float())


@dataclass
class Losses:
    """Terms by name; the total is their sum. Several values under one name (of groups of masks) are averaged.

    Watched values are logged next to the terms and are not part of the total.
    """

    values: dict[str, list[Tensor]] = field(default_factory=dict)
    others: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        self.values.setdefault(name, []).append(value)

    def extend(self, terms: Mapping[str, Tensor]) -> None:
        for name, value in terms.items():
            self.add(name, value)

    def watch(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.others.setdefault(name, []).append(value.detach())

    def terms(self) -> dict[str, Tensor]:
        return _means(self.values)

    @property
    def watched(self) -> dict[str, Tensor]:
        return _means(self.others)

    def total(self) -> Tensor:
        """The sum of the terms, a scalar. Raises InputError without terms."""
        terms = list(self.terms().values())
        if not terms:
            raise InputError("the objective returned Losses without terms; add one with Losses.add")
        return sum(terms[1:], terms[0])


def _means(lists: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: sum(values[1:], values[0]) / len(values) for name, values in lists.items()}
