"""Paired prediction: views and conditions, what is compared, and the size of the design for cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from anyjepa.data.pair import Pair
from anyjepa.nn.conditional import ConditionalPredictorConfig
from anyjepa.nn.convolution import ConvConfig
from anyjepa.nn.genes import GeneConfig
from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.objectives.paired import PairedPrediction, PairedPredictionConfig, ProjectorConfig
from anyjepa.objectives.regularisers import Rows, VicregConfig, covariance_term, regularise, variance_term
from anyjepa.objectives.targets import SeparateConfig, StopGradientConfig, Teacher, TeacherConfig

VIT = ViTConfig(patch=(4,), dim=8, depth=1, heads=2)
CONV = ConvConfig(widths=(4, 8), blocks=1)


def objective(**settings: Any) -> PairedPrediction:
    torch.manual_seed(0)
    model = PairedPrediction(PairedPredictionConfig(**{"encoder": VIT, **settings}), 2, (16,))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def test_two_views_of_images_by_hand() -> None:
    """VICReg as published: projected means of both views, every term by its definition."""
    torch.manual_seed(0)
    regulariser = VicregConfig(invariance=1, variance=2, covariance=3)
    config = PairedPredictionConfig(encoder=CONV, projector=ProjectorConfig(widths=(16, 6)), regulariser=regulariser)
    model = PairedPrediction(config, 3, (8, 8))
    x, other = torch.randn(12, 3, 8, 8), torch.randn(12, 3, 8, 8)
    losses = model(Batch.whole(x, pair=Pair(other)))
    first, second = (
        model.branch.projector(model.student(view).padded().mean(1))  # in training mode: the same statistics again
        for view in (x, other)
    )
    one = torch.zeros(12, dtype=torch.long)
    terms = losses.terms()
    torch.testing.assert_close(terms["prediction"], F.mse_loss(first, second))
    torch.testing.assert_close(terms["variance"], 2 * sum(variance_term(z, one, 1) for z in (first, second)))
    torch.testing.assert_close(terms["covariance"], 3 * sum(covariance_term(z) for z in (first, second)))
    assert list(model.parts()) == ["encoder"]
    assert [type(part) for part in model.branch.projector] == [
        torch.nn.Linear,
        torch.nn.BatchNorm1d,
        torch.nn.ReLU,
        torch.nn.Linear,
    ]


def test_without_a_projector_tokens_are_compared_place_by_place() -> None:
    predictor = ConditionalPredictorConfig(condition_dim=3, depth=1, heads=2)
    model = objective(predictor=predictor)
    x, other, condition = torch.randn(5, 2, 16), torch.randn(5, 2, 16), torch.randn(5, 2, 3)
    valid = torch.tensor([[True, True]] * 4 + [[True, False]])
    predicted = model.predictor(model.student(x).padded(), condition, valid)
    targets = model.student(other).padded()
    losses = model(Batch.whole(x, pair=Pair(other, condition, valid)))
    torch.testing.assert_close(losses.terms()["prediction"], 25 * F.mse_loss(predicted, targets))
    expected = regularise(VicregConfig(), [Rows.of(predicted), Rows.of(targets)], 5, 4)
    torch.testing.assert_close(losses.terms()["variance"], expected["variance"])
    assert list(model.parts()) == ["encoder", "predictor"]


@pytest.mark.parametrize("target", [TeacherConfig(momentum=(0.5, 0.5)), StopGradientConfig()])
def test_a_target_without_gradient(target: TeacherConfig | StopGradientConfig) -> None:
    """The second of a pair gets no gradient through the prediction term; a teacher follows encoder and projector."""
    model = objective(target=target, projector=ProjectorConfig(widths=(6,)), regulariser=None)
    x, other = torch.randn(5, 2, 16), torch.randn(5, 2, 16, requires_grad=True)
    model.begin_step(0, 10)
    model(Batch.whole(x, pair=Pair(other))).total().backward()
    assert other.grad is None
    if isinstance(target, TeacherConfig):
        assert isinstance(model.target, Teacher)
        assert list(model.encoders()) == ["teacher", "student"]
        before = model.target.encoder.projector[0].weight.clone()
        model.branch.projector[0].weight.data += 1
        model.begin_step(1, 10)
        torch.testing.assert_close(
            model.target.encoder.projector[0].weight, (before + model.branch.projector[0].weight) / 2
        )
    else:
        assert list(model.encoders()) == ["student"]


def test_a_second_branch_is_the_model() -> None:
    model = objective(target=SeparateConfig())
    assert list(model.encoders()) == ["target", "student"]
    assert model.encoders()["target"] is not model.student


def test_parts_of_a_batch_add_up_without_a_regulariser() -> None:
    model = objective(regulariser=None)
    x, other = torch.randn(6, 2, 16), torch.randn(6, 2, 16)
    whole = model(Batch.whole(x, pair=Pair(other))).total()
    parts = [Batch(x[rows], samples=6, pair=Pair(other[rows])) for rows in (slice(0, 2), slice(2, 6))]
    halves = [model(part).total() for part in parts]
    assert model.adds_up
    torch.testing.assert_close(sum(halves), whole)


GENES = GeneConfig(tokens=4, dim=8, depth=2, heads=2, dropout=0)
PROTEINS = GeneConfig(tokens=4, dim=8, depth=1, heads=2, dropout=0)
CONDITION = ConditionalPredictorConfig(condition_dim=3, depth=1, heads=2, conditioning="film")


NARROW = SeparateConfig(encoder=PROTEINS.model_copy(update={"dim": 4}))


def two_modalities(**settings: Any) -> PairedPrediction:
    config = PairedPredictionConfig(
        encoder=GENES,
        predictor=CONDITION,
        target=SeparateConfig(encoder=PROTEINS),
        **settings,
    )
    torch.manual_seed(0)
    return PairedPrediction(config, 1, (16,), (8,))


def test_the_second_modality_has_an_encoder_of_its_own() -> None:
    model = two_modalities()
    x, other = torch.randn(5, 1, 16), torch.randn(5, 1, 8)
    losses = model(Batch.whole(x, pair=Pair(other)))
    predicted = model.predictor(model.student(x).padded())
    targets = model.target.encoder(other).padded()
    torch.testing.assert_close(losses.terms()["prediction"], 25 * F.mse_loss(predicted, targets))
    losses.total().backward()
    for part in (model.student, model.predictor, model.target):
        learning = {name.split(".")[0] for name, p in part.named_parameters() if p.grad.abs().sum() > 0}
        assert learning >= {name for name, _ in part.named_children()} - {"embed"}  # of a condition; there is none
    assert list(model.encoders()) == ["student"]  # what reads expression
    assert list(model.parts()) == ["encoder", "predictor", "second"]
    assert model.parts()["second"].size == (8,)


def test_nothing_told_is_one_token_of_zeros() -> None:
    model = two_modalities()
    tokens = torch.randn(5, 4, 8)
    torch.testing.assert_close(model.predictor(tokens), model.predictor(tokens, torch.zeros(5, 1, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": NARROW, "predictor": CONDITION}, "must equal encoder.dim, which is 8"),
        (
            {"target": SeparateConfig(encoder=PROTEINS), "projector": ProjectorConfig(widths=(4,))},
            "without a projector",
        ),
        ({"target": SeparateConfig(encoder=PROTEINS)}, "goes with a predictor"),
    ],
)
def test_encoders_that_do_not_fit_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairedPredictionConfig(encoder=GENES, **settings)


def test_sizes_that_do_not_fit_each_other() -> None:
    config = PairedPredictionConfig(encoder=GENES, predictor=CONDITION, target=SeparateConfig(encoder=PROTEINS))
    with pytest.raises(ValueError, match="go together"):
        PairedPrediction(config, 1, (16,))
    with pytest.raises(ValueError, match="go together"):
        PairedPrediction(PairedPredictionConfig(encoder=GENES), 1, (16,), (8,))
    fewer = SeparateConfig(encoder=PROTEINS.model_copy(update={"tokens": 3}))
    with pytest.raises(ValueError, match=r"the encoder gives 4 tokens, target\.encoder 3"):
        PairedPrediction(PairedPredictionConfig(encoder=GENES, predictor=CONDITION, target=fewer), 1, (16,), (8,))
    with pytest.raises(ValueError, match=r"target\.encoder is for pairs of two modalities"):
        MaskedPredictionConfig(
            encoder=VIT, predictor=PredictorConfig(dim=8, depth=1, heads=2), target=SeparateConfig(encoder=VIT)
        )
