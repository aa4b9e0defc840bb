"""Gradients against finite differences in float64, bf16 against float32, and inputs at the edge of what is defined."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from torch import Tensor

from anyjepa.data.pair import Pair
from anyjepa.masks.base import Masks
from anyjepa.nn.conditional import ConditionalPredictorConfig
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.predictor import DensePredictorConfig, PredictorConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives import losses
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import DistanceConfig, Losses
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.objectives.paired import PairedPrediction, PairedPredictionConfig, ProjectorConfig
from anyjepa.objectives.regularisers import SigregConfig, VicregConfig
from anyjepa.objectives.targets import SeparateConfig, SharedConfig, StopGradientConfig, TeacherConfig

VIT = ViTConfig(patch=(5,), dim=16, depth=2, heads=2)
CAUSAL = ViTConfig(patch=(5,), dim=16, depth=2, heads=2, causal=True, cls=True, positions=RotaryConfig())
RAGGED = Masks(
    torch.tensor([[0, 1, 2, 5], [1, 3, 4, 0], [6, 7, 0, 0]]),
    torch.tensor([[[3, 4, 0]], [[2, 6, 8]], [[0, 1, 9]]]),
    torch.tensor([[True] * 4, [True] * 3 + [False], [True, True, False, False]]),
    torch.tensor([[[True, True, False]], [[True] * 3], [[True] * 3]]),
)
BLOCKS = Masks(torch.tensor([[0, 1], [4, 5], [8, 9]]), torch.tensor([[[3, 4], [6, 7]]]).expand(3, -1, -1))


class Case(NamedTuple):
    objective: Objective
    loss: Callable[[Tensor], Losses]  # of an input (B, 3, 50)
    groups: tuple[Masks | None, ...] = (None,)  # groups of masks


def masked(groups: tuple[Masks, ...] = (RAGGED,), **settings: Any) -> Case:
    settings = {"encoder": VIT, "predictor": PredictorConfig(dim=8, depth=1, heads=2)} | settings
    model = MaskedPrediction(MaskedPredictionConfig(**settings), 3, (50,))
    return Case(model, lambda x: model(Batch.whole(x, [group.rows(slice(len(x))) for group in groups])), groups)


def following(**settings: Any) -> Case:
    model = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=CAUSAL, **settings), 3, (50,))
    return Case(model, lambda x: model(Batch.whole(x)))


def paired(condition: bool = True, **settings: Any) -> Case:
    predictor = ConditionalPredictorConfig(condition_dim=4, depth=1, heads=2) if condition else None
    model = PairedPrediction(PairedPredictionConfig(encoder=VIT, predictor=predictor, **settings), 3, (50,))

    def loss(x: Tensor) -> Losses:
        what = torch.linspace(-1, 1, len(x) * 8, dtype=x.dtype).view(len(x), 2, 4) if condition else None
        return model(Batch.whole(x, pair=Pair(x.flip(2) + 0.1 * x.square(), what)))

    return Case(model, loss)


def distance(kind: str) -> DistanceConfig:
    return DistanceConfig.model_validate({"kind": kind})


CASES: dict[str, Callable[[], Case]] = {
    "masked, teacher, l1": masked,
    "masked, teacher, l2": lambda: masked(distance=distance("l2")),
    "masked, teacher, cosine": lambda: masked(distance=distance("cosine")),
    "masked, teacher, normalised targets, smooth l1": lambda: masked(
        target=TeacherConfig(normalise=True), distance=distance("smooth_l1")
    ),
    "masked, two groups of blocks": lambda: masked((RAGGED, BLOCKS)),
    "masked, zeroed tokens, dense predictor": lambda: masked(
        hidden="zeroed", predictor=DensePredictorConfig(dim=8, depth=1, heads=2)
    ),
    "masked, shared, vicreg": lambda: masked(target=SharedConfig(), regulariser=VicregConfig()),
    "masked, shared, vicreg, flattened": lambda: masked(
        target=SharedConfig(), regulariser=VicregConfig(over="flattened")
    ),
    "masked, stop-gradient": lambda: masked(target=StopGradientConfig()),
    "masked, stop-gradient, sigreg": lambda: masked(target=StopGradientConfig(), regulariser=SigregConfig()),
    "masked, separate, sigreg": lambda: masked(target=SeparateConfig(), regulariser=SigregConfig()),
    "next embedding": following,
    "next embedding, horizon 3, average": lambda: following(horizon=3, ema=0.9),
    "paired, vicreg, projector": lambda: paired(False, projector=ProjectorConfig(widths=(12, 6))),
    "paired, condition, vicreg": paired,
    "paired, condition, teacher": lambda: paired(target=TeacherConfig(), regulariser=None),
    "paired, condition, stop-gradient": lambda: paired(target=StopGradientConfig(), regulariser=None),
    "paired, condition, sigreg": lambda: paired(regulariser=SigregConfig()),
}
every_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())


def prepared(make: Callable[[], Case]) -> Case:
    torch.manual_seed(0)
    case = make()
    for parameter in case.objective.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return case


def x(dtype: torch.dtype = torch.float32, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def total(case: Case, x: Tensor) -> Tensor:
    torch.manual_seed(2)  # SIGReg draws directions
    return case.loss(x).total()


def with_constant_targets(case: Case, x: Tensor) -> mock._patch:
    """What has no gradient does not move: a finite difference of the loss would see targets move with the weights."""
    model = case.objective
    if isinstance(model, NextEmbeddingPrediction):
        embedded = model.student.embed(x).detach()
        return mock.patch.object(model.student, "embed", return_value=embedded)
    plain = losses.distance
    constant, calls = [], itertools.count()

    def distance(config: DistanceConfig, predicted: Tensor, target: Tensor) -> Tensor:
        if model.config.target.gradient:
            return plain(config, predicted, target)
        group = next(calls) % len(case.groups)
        if group == len(constant):
            constant.append(target)
        return plain(config, predicted, constant[group])

    return mock.patch.object(sys.modules[type(model).__module__], "distance", distance)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@every_case
def test_the_gradient_is_that_of_finite_differences(make: Callable[[], Case]) -> None:
    """Along five random directions in the space of all weights, in float64: that is what `.float()` means here."""
    with mock.patch.object(Tensor, "float", Tensor.double), default_dtype(torch.float64):
        case, inputs = prepared(make), x(torch.float64)
        case.objective.double()
        weights = [parameter for parameter in case.objective.parameters() if parameter.requires_grad]
        with with_constant_targets(case, inputs):
            gradient = torch.autograd.grad(total(case, inputs), weights, allow_unused=True)
            random = torch.Generator().manual_seed(3)
            for _ in range(5):
                along = [torch.randn(w.shape, generator=random, dtype=w.dtype) for w in weights]
                slope = sum(float((g * d).sum()) for g, d in zip(gradient, along, strict=True) if g is not None)
                values = []
                for step in (1e-6, -1e-6):
                    with torch.no_grad():
                        for weight, direction in zip(weights, along, strict=True):
                            weight += step * direction
                        values.append(float(total(case, inputs)))
                        for weight, direction in zip(weights, along, strict=True):
                            weight -= step * direction
                assert slope != 0
                assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-6)


@every_case
def test_bf16_is_float32_within_its_rounding(make: Callable[[], Case]) -> None:
    case = prepared(make)
    weights = [parameter for parameter in case.objective.parameters() if parameter.requires_grad]
    exact = total(case, x())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = total(case, x())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.03, abs=0.01)
    first, second = (
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights, allow_unused=True) if g is not None])
        for loss in (exact, rounded)
    )
    assert torch.cosine_similarity(first, second, dim=0) > 0.99


@every_case
@pytest.mark.parametrize("kind", ["zeros", "constant", "huge", "one sample"])
def test_degenerate_input_has_a_finite_loss_and_gradient(make: Callable[[], Case], kind: str) -> None:
    case = prepared(make)
    inputs = {
        "zeros": torch.zeros(3, 3, 50),
        "constant": torch.full((3, 3, 50), 7.0),
        "huge": 1e6 * x(),
        "one sample": x(batch=1),
    }[kind]
    if kind == "one sample" and isinstance(case.objective, PairedPrediction) and case.objective.config.projector:
        with pytest.raises(ValueError, match="more than 1 value per channel"):  # a BatchNorm of one row is undefined
            total(case, inputs)
        return
    loss = total(case, inputs)
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in case.objective.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("target", [TeacherConfig(), SharedConfig()])
def test_a_context_of_one_token_and_a_single_target(target: Any) -> None:
    one = Masks(torch.tensor([[4]]).expand(3, 1), torch.tensor([[[9]]]).expand(3, 1, 1))
    case = prepared(lambda: masked((one,), target=target))
    loss = total(case, x())
    loss.backward()
    assert torch.isfinite(loss)
    alone = Masks(one.context[:1], one.targets[:1])  # the loss is a mean over samples: three alike are as one
    same = x()[:1].expand(3, -1, -1)
    first = case.objective(Batch.whole(same[:1], [alone])).total().item()
    assert case.objective(Batch.whole(same, [one])).total().item() == pytest.approx(first)


def test_no_target_at_all_is_a_loss_of_zero() -> None:
    nothing = Masks(
        torch.tensor([[4, 5]]).expand(3, 2),
        torch.tensor([[[9]]]).expand(3, 1, 1),
        None,
        torch.zeros(3, 1, 1, dtype=torch.bool),
    )
    case = prepared(lambda: masked((nothing,)))
    loss = case.objective(Batch.whole(x(), [nothing])).total()
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in case.objective.parameters())
