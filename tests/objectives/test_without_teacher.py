"""Masked prediction without a teacher: where gradients go, hidden tokens in place, a predictor of all positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from anyjepa.diagnostics.collapse import collapse_metrics
from anyjepa.masks.base import Masks
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.predictor import DensePredictorConfig, PredictorConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import DistanceConfig
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.regularisers import SigregConfig, VicregConfig
from anyjepa.objectives.targets import SeparateConfig, SharedConfig, StopGradientConfig, TeacherConfig

CONTEXT = torch.tensor([[0, 1, 2, 5, 6, 9], [1, 3, 4, 5, 7, 0]])
MASKS = Masks(
    CONTEXT,
    torch.tensor([[[3, 4, 0]], [[2, 6, 8]]]),
    torch.tensor([[True] * 6, [True] * 5 + [False]]),
    torch.tensor([[[True, True, False]], [[True] * 3]]),
)


def objective(seed: int = 0, **changes: Any) -> MaskedPrediction:
    torch.manual_seed(seed)
    settings = {
        "encoder": ViTConfig(patch=(5,), dim=16, depth=2, heads=2),
        "predictor": PredictorConfig(dim=8, depth=2, heads=2),
        "distance": DistanceConfig(kind="l2"),
    }
    model = MaskedPrediction(MaskedPredictionConfig(**{**settings, **changes}), 3, (50,))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def x(seed: int = 1) -> Tensor:
    return torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(seed))


def gradient(model: MaskedPrediction, *terms: str) -> Tensor:
    """Of the named terms, at the encoder's patch projection."""
    found = model(Batch.whole(x(), [MASKS])).terms()
    return torch.autograd.grad(sum(found[name] for name in terms), model.student.project.weight)[0]  # type: ignore[arg-type]


def test_shared_targets_pass_the_gradient_and_stopped_ones_do_not() -> None:
    """The gradient through both sides is that through the predictions plus that through the targets."""
    shared, stopped = objective(target=SharedConfig()), objective(target=StopGradientConfig())
    both, one = shared(Batch.whole(x(), [MASKS])), stopped(Batch.whole(x(), [MASKS]))
    assert both.total().item() == pytest.approx(one.total().item())
    through = gradient(shared, "prediction") - gradient(stopped, "prediction")
    context = shared.student(x(), CONTEXT, MASKS.context_valid)
    predicted = shared.predictor(context, CONTEXT, MASKS.targets, MASKS.targets_valid, (10,)).detach()
    lost = (predicted - MASKS.of(shared.student(x()).padded())).square().mean(1).sum() / MASKS.count()
    torch.testing.assert_close(through, torch.autograd.grad(lost, shared.student.project.weight)[0])


def test_a_regularisers_gradient_passes_through_stopped_targets() -> None:
    terms = ("variance", "covariance")
    config = VicregConfig(gamma=3)
    shared = objective(target=SharedConfig(), regulariser=config)
    stopped = objective(target=StopGradientConfig(), regulariser=config)
    torch.testing.assert_close(gradient(shared, *terms), gradient(stopped, *terms))
    taught = objective(target=TeacherConfig(), regulariser=config)
    assert not torch.allclose(gradient(taught, *terms), gradient(stopped, *terms))  # on predictions only


def test_a_second_encoder_has_its_own_weights_and_gradient() -> None:
    model = objective(target=SeparateConfig(), regulariser=VicregConfig())
    assert isinstance(model.target, Encoder)
    assert not torch.equal(model.target.project.weight, model.student.project.weight)
    model(Batch.whole(x(), [MASKS])).total().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert list(model.encoders()) == ["target", "student"]
    assert list(objective(target=SharedConfig()).encoders()) == ["student"]


def test_terms_and_their_weights() -> None:
    """The prediction term is that without a regulariser, weighted; every term is logged by name."""
    plain = objective(target=SharedConfig())(Batch.whole(x(), [MASKS]))
    for config, weight, names in (
        (VicregConfig(invariance=7), 7, {"variance", "covariance"}),
        (SigregConfig(weight=0.2), 0.8, {"sigreg"}),
    ):
        losses = objective(target=SharedConfig(), regulariser=config)(Batch.whole(x(), [MASKS]))
        assert losses.terms().keys() == {"prediction"} | names
        assert losses.terms()["prediction"].item() == pytest.approx(weight * plain.total().item(), rel=1e-5)
        assert losses.watched["squared_error"].item() == pytest.approx(16 * plain.total().item(), rel=1e-5)


def test_zeroed_tokens_stay_in_the_input() -> None:
    """What is under them changes nothing, but they take part in attention, where dropped ones do not."""
    dropped, zeroed = objective(), objective(hidden="zeroed")
    context, places = zeroed.context(x(), MASKS, None)
    assert places.tolist() == [list(range(10))] * 2
    assert context.padded().shape == (2, 10, 16)
    changed = x().view(2, 3, 10, 5).clone()
    for row, seen in enumerate((CONTEXT[0], CONTEXT[1, :5])):
        changed[row, :, [token for token in range(10) if token not in seen.tolist()]] += 1
    again, _ = zeroed.context(changed.flatten(2), MASKS, None)
    torch.testing.assert_close(again.values, context.values)
    few = dropped.context(x(), MASKS, None)[0].values[:6]
    assert not torch.allclose(few, context.values[CONTEXT[0]], atol=1e-3)
    every = Masks(torch.arange(10).expand(2, -1), MASKS.targets)
    torch.testing.assert_close(zeroed.context(x(), every, None)[0].values, dropped.context(x(), every, None)[0].values)


@pytest.mark.parametrize("hidden", ["dropped", "zeroed"])
def test_a_dense_predictor_answers_for_all_tokens(hidden: str) -> None:
    model = objective(predictor=DensePredictorConfig(heads=2), hidden=hidden, target=SharedConfig())
    assert (model.predictor.config.dim, model.predictor.config.depth) == (16, 1)
    context, places = model.context(x(), MASKS, None)
    every = MASKS.everything(10)
    predicted = model.predictor(context, places, every.targets, None, (10,))
    assert predicted.shape == (20, 16)
    lost = (predicted - model.student(x()).values).square().mean()
    assert model(Batch.whole(x(), [MASKS])).total().item() == pytest.approx(lost.item(), rel=1e-5)
    batch = Batch.whole(x(), [MASKS])
    rows = slice(0, 1), slice(1, 2)
    halves = [model(batch._replace(x=batch.x[half], masks=[MASKS.rows(half)])).total() for half in rows]
    assert sum(halves).item() == pytest.approx(lost.item(), rel=1e-5)


def test_without_positions_hidden_tokens_get_one_prediction() -> None:
    """Zero vectors are alike to a predictor that has no positions; with positions they are told apart."""
    for positions, alike in ((None, True), ({"kind": "sincos"}, False)):
        model = objective(predictor=DensePredictorConfig(heads=2, positions=positions), hidden="dropped")  # type: ignore[arg-type]
        context, places = model.context(x(), MASKS, None)
        predicted = model.predictor(context, places, MASKS.everything(10).targets, None, (10,)).view(2, 10, 16)
        assert torch.allclose(predicted[0, 3], predicted[0, 4], atol=1e-5) == alike


def test_sizes_relative_to_the_encoder() -> None:
    encoder = ViTConfig(patch=(5,), dim=48, depth=5, heads=2)
    config = PredictorConfig(dim="x0.5", depth="x.5", heads=2).sized(encoder)
    assert (config.dim, config.depth) == (24, 2)
    assert PredictorConfig(dim="x0.01", depth="x2", heads=2).sized(encoder).dim == 1
    for wrong in ("0.5", "x", "half", 0.5, 0, True, None):
        with pytest.raises(ValueError, match="or a ratio to the encoder's"):
            PredictorConfig(dim=wrong, depth=2, heads=2)  # type: ignore[arg-type]
    model = objective(encoder=encoder, predictor=PredictorConfig(dim="x0.5", depth="x.5", heads=2))
    assert model.predictor.norm.weight.shape == (24,)
    assert len(model.predictor.transformer.blocks) == 2


def test_a_dense_predictors_output_projection() -> None:
    encoder = ViTConfig(patch=(5,), dim=16, depth=2, heads=2)

    def has_linear(**settings: Any) -> bool:
        predictor = objective(encoder=encoder, predictor=DensePredictorConfig(heads=2, **settings)).predictor
        return isinstance(predictor.proj, torch.nn.Linear)

    assert [has_linear(), has_linear(project=True), has_linear(dim=8)] == [False, True, True]


def trained(over: str) -> tuple[dict[str, float], dict[str, float]]:
    """Where the future cannot be predicted from the past: last terms, and signs of collapse on fresh samples."""
    config = MaskedPredictionConfig.model_validate(
        {
            "encoder": {"patch": [4], "dim": 16, "depth": 1, "heads": 2},
            "predictor": {"dim": 16, "depth": 1, "heads": 2},
            "masks": {"kind": "past_future", "context": 8, "target": 8},
            "target": {"kind": "shared"},
            "distance": {"kind": "l2"},
            "regulariser": {"kind": "vicreg", "over": over},
        }
    )
    torch.manual_seed(0)
    model = MaskedPrediction(config, 2, (64,))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    masks = config.masks.draw((16,), 32, np.random.default_rng(0))
    for _ in range(120):
        losses = model(Batch.whole(torch.randn(32, 2, 64), masks))
        optimiser.zero_grad()
        losses.total().backward()
        optimiser.step()
    tokens = model.student(torch.randn(256, 2, 64)).padded().detach()
    found = collapse_metrics(tokens) | {"flattened_std": tokens.flatten(0, 1).std(0).mean().item()}
    return {name: term.item() for name, term in losses.terms().items()}, found


def test_the_flattened_form_collapses_to_a_constant_a_position() -> None:
    """Each position gets a constant of its own: losses and the usual signs look well, samples are alike."""
    terms, signs = trained("flattened")
    assert terms["prediction"] < 2
    assert terms["variance"] < 2
    assert signs["flattened_std"] > 0.9
    assert signs["rank"] > 7  # of 16, of mean tokens
    assert signs["between"] < 0.3


def test_comparing_samples_at_each_position_does_not() -> None:
    terms, signs = trained("position")
    assert terms["variance"] > 15  # it cannot be met by constants
    assert signs["between"] > 0.6
