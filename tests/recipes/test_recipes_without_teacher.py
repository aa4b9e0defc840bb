"""The recipes without a teacher: sizes, one step of the large one, collapse and its cure in small."""

from __future__ import annotations

import pytest
import torch

from anyjepa.data.pair import Pair
from anyjepa.errors import InputError
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.objectives.targets import SharedConfig
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.objective import build_objective
from anyjepa.training.draws import step_masks


def parameters(part: torch.nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_the_large_recipe_has_the_designs_sizes_and_takes_a_step() -> None:
    recipe = load_recipe("jepa-vicreg-vit-b16", ["training.batch_size=2"])[0]
    model = build_objective(recipe)
    assert isinstance(model, MaskedPrediction)
    assert (parameters(model.student), parameters(model.predictor)) == (85_797_120, 42_528_768)
    regulariser = recipe.objective.regulariser
    assert (regulariser.invariance, regulariser.variance, regulariser.covariance) == (25, 25, 1)
    assert (regulariser.gamma, regulariser.eps) == (1, 1e-4)
    masks = step_masks(recipe.objective.masks, (14, 14), recipe.training, 0)
    losses = model(Batch.whole(torch.randn(2, 3, 224, 224), masks))
    losses.total().backward()
    assert losses.terms().keys() == {"prediction", "variance", "covariance"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", ["vicreg", "sigreg"])
def test_time_is_hidden_in_the_same_way(kind: str) -> None:
    edits = ["objective.target.kind=shared", f"objective.regulariser.kind={kind}", "objective.masks.kind=past_future"]
    recipe = load_recipe("series-jepa-demo", [*edits, "training.batch_size=4"])[0]
    model = build_objective(recipe)
    masks = step_masks(recipe.objective.masks, model.student.grid, recipe.training, 0)
    losses = model(Batch.whole(torch.randn(4, recipe.data.channels, *recipe.data.size), masks))
    losses.total().backward()
    assert losses.terms().keys() == {"prediction"} | ({"sigreg"} if kind == "sigreg" else {"variance", "covariance"})
    assert model.student.project.weight.grad is not None


@pytest.mark.parametrize("name", ["jepa-vicreg-cifar10", "jepa-sigreg-cifar10"])
def test_the_small_recipes_have_the_network_of_ijepa(name: str) -> None:
    recipe, ijepa = load_recipe(name)[0], load_recipe("ijepa-cifar10")[0]
    assert recipe.objective.encoder == ijepa.objective.encoder
    assert recipe.objective.predictor == ijepa.objective.predictor
    assert recipe.training == ijepa.training
    assert recipe.objective.target == SharedConfig()
    masks = recipe.objective.masks
    assert (masks.targets, masks.scale, masks.aspect) == (4, (0.15, 0.2), (0.75, 1.5))
    with torch.device("meta"):
        model = recipe.objective.build(3, (32, 32))
    assert [parameters(part) for part in model.children()] == [2_691_264, 490_944]


@pytest.mark.parametrize(
    ("name", "edits", "message"),
    [
        (
            "vicreg-resnet18-cifar10",
            ["objective.predictor.depth=1"],
            "images data give two views",
        ),
        ("vicreg-resnet18-cifar10", ["objective.encoder.stem=[2,1]"], "a kernel is odd"),
        ("vicreg-resnet18-cifar10", ["objective.encoder.stem=[65535,1]"], "at most 63"),
        ("vicreg-resnet18-cifar10", ["objective.encoder.blocks=1000"], "at most 64"),
        ("ijepa-demo", ["data.augmentation.crop.side=24"], "crops of .* differ from .32, 32., need encoder.kind=conv"),
        ("vicreg-resnet10-cifar10", ["data.augmentation.crop.side=20"], "multiple of the patch"),
        ("vjepa-demo", ["data.augmentation.crop.side=24"], "crop.side is for images"),
        ("ecg-jepa-xs", ["objective.distance.beta=2"], "beta is for kind smooth_l1, and kind is l1"),
        ("ijepa-demo", ["objective.predictor.depth=x500"], "predictor.depth=x500 is 2000, more than 1000"),
        ("ijepa-demo", ["objective.predictor.dim=x0"], "or a ratio to the encoder's"),
        ("ecg-nepa-demo", ["objective.encoder.block.norm=batch"], "a BatchNorm mixes later tokens into earlier ones"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, edits: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_recipe(name, edits)
    assert "\n" not in str(error.value)


def test_signals_by_a_convolution() -> None:
    edits = ["objective.kind=paired", "objective.encoder.kind=conv", "objective.encoder.axes=1"]
    recipe = load_recipe("series-jepa-demo", [*edits, "objective.encoder.widths=[8,8]"])[0]
    model = build_objective(recipe)
    x = torch.randn(2, recipe.data.channels, *recipe.data.size)
    assert model(Batch.whole(x, pair=Pair(x))).total().isfinite()


@pytest.mark.parametrize(("name", "outputs"), [("vicreg-resnet18-cifar10", 2048), ("sigreg-resnet18-cifar10", 128)])
def test_two_views_with_the_public_settings(name: str, outputs: int) -> None:
    """Loss weights translate: a mean over pairs of dimensions to our sum over D, a statistic to one times its rows."""
    recipe = load_recipe(name)[0]
    regulariser, training = recipe.objective.regulariser, recipe.training
    if regulariser.kind == "vicreg":
        assert (regulariser.invariance, regulariser.variance) == (1, 1)
        assert regulariser.covariance * (outputs - 1) == pytest.approx(80)
    else:
        assert (regulariser.points, regulariser.limit, regulariser.directions) == (10, 3, 256)
        assert regulariser.weight * training.batch_size / regulariser.invariance == pytest.approx(10)
    optimiser = training.optimiser
    assert (optimiser.kind, optimiser.lr, optimiser.trust, optimiser.weight_decay) == ("lars", 0.3, 0.02, (1e-4, 1e-4))
    assert (training.steps, optimiser.warmup) == (300 * 195, 10 * 195)
    model = build_objective(recipe)
    hidden = 512 * 2048 + 2048 + 2048**2 + 2048 + 2 * 2 * 2048 + 2048 * outputs + outputs
    assert [parameters(part) for part in model.branch.children()] == [11_168_832, hidden]
    losses = model(Batch.whole(torch.randn(4, 3, 32, 32), pair=Pair(torch.randn(4, 3, 32, 32))))
    losses.total().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
