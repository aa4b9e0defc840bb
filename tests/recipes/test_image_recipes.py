"""The recipes of I-JEPA and V-JEPA: published numbers, sizes, and the seven traps that the small design names."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from anyjepa.masks.base import Masks
from anyjepa.nn.predictor import MaskedPredictor
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.recipes.schema import load_recipe
from anyjepa.training.config import TrainingConfig
from anyjepa.training.draws import step_masks
from anyjepa.training.module import Pretraining


def parts(name: str) -> tuple[MaskedPredictionConfig, TrainingConfig]:
    """Objective and training of a recipe that needs no base, whatever its data."""
    plain = yaml.safe_load(resources.files("anyjepa.recipes").joinpath(f"{name}.yaml").read_text())
    return MaskedPredictionConfig.model_validate(plain["objective"]), TrainingConfig.model_validate(plain["training"])


def transformer(dim: int, depth: int) -> int:
    """Parameters of blocks with biases and MLP ratio 4, and of the LayerNorm behind them."""
    return depth * (12 * dim**2 + 13 * dim) + 2 * dim


def counts(config: MaskedPredictionConfig, size: tuple[int, ...]) -> tuple[int, int]:
    with torch.device("meta"):
        model = config.build(3, size)
    assert isinstance(model, MaskedPrediction)
    return tuple(sum(p.numel() for p in part.parameters()) for part in (model.student, model.predictor))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "side", "patch", "dim", "depth", "width", "predictor_depth"),
    [
        ("ijepa-vit-h14-in1k", 224, 14, 1280, 32, 384, 12),
        ("ijepa-vit-h16-448-in1k", 448, 16, 1280, 32, 384, 12),
        ("ijepa-vit-l16-in1k", 224, 16, 1024, 24, 384, 12),
        ("ijepa-vit-b16-in1k", 224, 16, 768, 12, 384, 6),
        ("ijepa-vit-s8", 96, 8, 384, 12, 192, 6),
    ],
)
def test_sizes(name: str, side: int, patch: int, dim: int, depth: int, width: int, predictor_depth: int):
    recipe = load_recipe(name)[0]
    assert recipe.data.size == (side, side)
    encoder = (3 * patch**2 + 1) * dim + transformer(dim, depth)
    predictor = (dim + 1) * width + width + transformer(width, predictor_depth) + (width + 1) * dim
    assert counts(recipe.objective, (side, side)) == (encoder, predictor)


def test_the_published_image_recipe():
    recipe = load_recipe("ijepa-vit-h14-in1k")[0]
    training, optimiser, objective = recipe.training, recipe.training.optimiser, recipe.objective
    assert (training.steps, training.batch_size, training.stretch) == (300 * 625, 2048, 1)
    assert [optimiser.at(step, training.schedule_steps)[0] for step in (24_999, 187_499)] == pytest.approx([1e-3, 1e-6])
    assert (optimiser.start_lr, optimiser.weight_decay, optimiser.clip) == (2e-4, (0.04, 0.4), None)
    assert (optimiser.betas, optimiser.eps, optimiser.decay_rule) == ((0.9, 0.999), 1e-8, "not_1d")
    assert (objective.masks.mode, objective.masks.min_keep) == ("reference", 10)
    target = objective.target
    assert (target.momentum, target.update, target.normalise) == ((0.996, 1), "after", True)
    assert (objective.distance.kind, objective.distance.beta) == ("smooth_l1", 1)


@pytest.mark.parametrize(
    ("name", "grid", "context"), [("ijepa-vit-h14-in1k", (16, 16), 71.1), ("ijepa-vit-l16-in1k", (14, 14), 50.4)]
)
def test_published_contexts_are_cut_by_process_at_the_published_batch(name: str, grid: tuple[int, int], context: float):
    """Cut to the shortest of 2,048 they would have 57.7 and 45.5 tokens."""
    recipe = load_recipe(name)[0]
    assert recipe.objective.masks is not None
    lengths = []
    for step in range(20):
        (whole,) = step_masks(recipe.objective.masks, grid, recipe.training, step)
        for first in range(0, 2048, 128):
            of_a_process = whole.rows(slice(first, first + 128))
            assert of_a_process.context_valid is None
            lengths.append(of_a_process.context.shape[1])
    assert len(set(lengths)) > 5
    assert np.mean(lengths) == pytest.approx(context, abs=4)


def test_published_tubes_are_cut_by_process_at_the_published_batch():
    recipe = load_recipe("vjepa-vit-l16")[0]
    assert recipe.objective.masks is not None
    steps = [step_masks(recipe.objective.masks, (8, 14, 14), recipe.training, step) for step in range(5)]
    shares = [
        np.mean([group.rows(slice(first, first + 24)).context.shape[1] / 1568 for first in range(0, 3072, 24)])
        for groups in steps
        for group in groups
    ]
    assert np.reshape(shares, (-1, 2)).mean(0).tolist() == pytest.approx([0.225, 0.066], abs=0.025)


def test_the_published_video_recipe():
    objective, training = parts("vjepa-vit-l16")
    optimiser, tokens = training.optimiser, 2  # one mask token a group
    encoder = (3 * 2 * 16**2 + 1) * 1024 + transformer(1024, 24)
    predictor = 1025 * 384 + tokens * 384 + transformer(384, 12) + 385 * 1024
    assert counts(objective, (16, 224, 224)) == (encoder, predictor)
    # Schedules go on after the run, so at its end:
    lr, weight_decay = optimiser.at(90_000 - 1, training.schedule_steps)
    assert (round(lr, 6), round(weight_decay, 3)) == (7.5e-5, 0.366)
    assert objective.target.momentum_at(90_000, training.schedule_steps) == pytest.approx(0.9996)
    assert (optimiser.clip, optimiser.clip_parts, optimiser.clip_from) == (10, True, 41 * 300)
    assert (objective.masks.mode, objective.predictor.mask_init) == ("reference", "zeros")
    small = objective.predictor.model_copy(update={"dim": 12, "depth": 1, "heads": 2})
    assert not MaskedPredictor(small, 24, (2, 2, 2)).mask_tokens.any()


# The seven traps of the design for CIFAR-10, on its recipe with fewer blocks.


@pytest.fixture(scope="module")
def model() -> MaskedPrediction:
    torch.manual_seed(0)
    recipe = load_recipe("ijepa-cifar10", ["objective.encoder.depth=2", "objective.predictor.depth=2"])[0]
    return MaskedPrediction(recipe.objective, 3, (32, 32)).eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def masks(model: MaskedPrediction) -> Masks:
    """Four samples whose contexts, and whose target blocks, differ in length."""
    (group,) = model.config.masks.draw((8, 8), 4, np.random.default_rng(0))
    assert group.context_valid is not None
    assert group.targets_valid is not None
    return group


def patch_of(x: Tensor, token: int) -> Tensor:
    row, column = divmod(token, 8)
    return x[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]


def predictions(model: MaskedPrediction, x: Tensor, masks: Masks) -> Tensor:
    context = model.student(x, masks.context, masks.context_valid)
    return model.predictor(context, masks.context, masks.targets, masks.targets_valid, (8, 8))


@torch.no_grad()
def test_trap_1_a_mask_token_has_its_position(model: MaskedPrediction, x: Tensor):
    context, targets = torch.arange(20).expand(4, -1), torch.tensor([40, 50, 63]).expand(4, 1, -1)
    predicted = predictions(model, x, Masks(context, targets)).view(4, 3, -1)
    swapped = predictions(model, x, Masks(context, targets.flip(2))).view(4, 3, -1)
    torch.testing.assert_close(swapped, predicted.flip(1))
    assert not torch.allclose(predicted[:, 0], predicted[:, 1], atol=1e-3)
    learned, vector = model.predictor.positions.learned, model.predictor.mask_tokens
    assert learned.shape == (64, 96)
    assert vector.shape == (1, 96)
    assert (learned.std().item(), vector.std().item()) == (pytest.approx(0.02, rel=0.1), pytest.approx(0.02, rel=0.3))


@torch.no_grad()
def test_trap_2_the_context_encoder_sees_context_patches_alone_with_their_positions(
    model: MaskedPrediction, x: Tensor, masks: Masks
):
    seen = model.student(x, masks.context, masks.context_valid).padded()
    changed = x.clone()
    for token in set(range(64)) - set(masks.context[0][masks.context_valid[0]].tolist()):  # type: ignore[index]
        patch_of(changed[0], token).add_(1.0)
    assert torch.equal(model.student(changed, masks.context, masks.context_valid).padded(), seen)
    same = torch.ones(1, 3, 32, 32)  # patches that differ in nothing but their place
    first, other = (model.student(same, torch.tensor([[token]])).values for token in (0, 9))
    assert not torch.allclose(first, other, atol=1e-3)


@torch.no_grad()
def test_trap_3_the_teacher_sees_the_whole_image(model: MaskedPrediction, x: Tensor, masks: Masks):
    changed = x.clone()
    hidden = set(masks.targets[0].flatten().tolist())
    patch_of(changed[0], min(set(range(64)) - hidden)).add_(1.0)
    before, after = masks.of(model.target(x)), masks.of(model.target(changed))
    own = int(masks.targets_valid[0].sum())  # type: ignore[index]
    assert (before[:own] != after[:own]).any(1).all()
    assert torch.equal(masks.of(model.target.encoder(x).padded()), before)  # raw, not normalised again


def test_trap_4_no_gradient_and_no_optimiser_reach_the_teacher(model: MaskedPrediction, x: Tensor, masks: Masks):
    model(Batch.whole(x, [masks])).total().backward()
    assert all(p.grad is None for p in model.target.parameters())
    assert all(p.grad is not None for p in model.student.parameters() if p.numel())  # its patch embedding, too
    optimiser = Pretraining(model, TrainingConfig(), ()).configure_optimizers()
    own = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert own == {id(p) for part in (model.student, model.predictor) for p in part.parameters() if p.requires_grad}
    model.zero_grad()


@torch.no_grad()
def test_trap_5_a_batch_of_different_masks_computes_what_each_sample_computes(
    model: MaskedPrediction, x: Tensor, masks: Masks
):
    together, alone = predictions(model, x, masks), []
    for i in range(4):
        kept = masks.context[i][masks.context_valid[i]][None]  # type: ignore[index]
        for block, valid in zip(masks.targets[i], masks.targets_valid[i], strict=True):  # type: ignore[index]
            alone.append(predictions(model, x[i : i + 1], Masks(kept, block[valid][None, None])))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    squares = (together - masks.of(model.target(x))).square()
    losses = model(Batch.whole(x, [masks]))
    assert losses.total().item() == pytest.approx(squares.mean().item(), rel=1e-5)  # a target patch counts as any other
    assert losses.watched["squared_error"].item() == pytest.approx(squares.sum(1).mean().item(), rel=1e-5)


def test_trap_6_the_momentum_rises_from_996_to_1_and_the_teacher_follows_the_updated_student(model: MaskedPrediction):
    recipe = load_recipe("ijepa-cifar10")[0]
    momentum = [recipe.objective.target.momentum_at(step, recipe.training.schedule_steps) for step in (0, 9750, 19500)]
    assert momentum == pytest.approx([0.996, 0.998, 1.0])
    assert recipe.objective.target.update == "after"
    before = model.target.encoder.norm.bias.clone()
    model.begin_step(0, 100)
    assert torch.equal(model.target.encoder.norm.bias, before)
    with torch.no_grad():
        model.student.norm.bias.add_(1.0)
    model.end_step()
    torch.testing.assert_close(model.target.encoder.norm.bias, before + 0.004, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        model.student.norm.bias.sub_(1.0)
        model.target.encoder.norm.bias.copy_(before)


def test_trap_7_weight_decay_is_05_throughout(model: MaskedPrediction):
    config = load_recipe("ijepa-cifar10")[0].training
    rates = [config.optimiser.at(step, config.schedule_steps) for step in (0, 1949, 9_000, 19_499)]
    assert [decay for _, decay in rates] == [0.05] * 4
    assert [rates[1][0], rates[3][0]] == pytest.approx([1e-3, 1e-5])
    decayed, rest = Pretraining(model, config, ()).configure_optimizers().param_groups
    assert rest["params"] == []
    assert len(decayed["params"]) == sum(p.requires_grad for p in model.parameters())


def test_the_small_design_has_its_sizes():
    recipe = load_recipe("ijepa-cifar10")[0]
    assert counts(recipe.objective, (32, 32)) == (2_691_264, 490_944)
    assert (recipe.training.steps, recipe.training.batch_size, recipe.data.size) == (100 * 195, 256, (32, 32))
    assert recipe.data.augmentation.crop is None
    assert not recipe.data.augmentation.flip
