"""NEPA's recipes: every component and hyperparameter that the ECG port's description names, and published numbers."""

from __future__ import annotations

from functools import cache
from math import pi

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.modalities import training_data
from anyjepa.data.samples import ArraySamples
from anyjepa.errors import InputError
from anyjepa.evaluation.finetune import random_crops
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.vit import ViT
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.next_embedding import NextEmbeddingPrediction
from anyjepa.randomness import generator
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.objective import build_objective
from anyjepa.training.parameter_groups import decay_groups


@cache
def small() -> Recipe:
    return load_recipe("ecg-nepa-s")[0]


@pytest.fixture(scope="module")
def objective() -> NextEmbeddingPrediction:
    """The recipe's network, one block deep; 8 windows of 2.5 s are enough to see what it does."""
    recipe, _ = load_recipe("ecg-nepa-s", ["objective.encoder.depth=1"])
    objective = build_objective(recipe)
    assert isinstance(objective, NextEmbeddingPrediction)
    return objective.eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(2, 12, 1250, generator=torch.Generator().manual_seed(0))


# --- components


def test_component_cls_token_in_front(objective, x):
    student = objective.student
    assert student.prefix.shape == (1, 384)
    prefix, patches = student.features(x)
    assert (prefix.shape, patches.shape) == ((2, 1, 384), (2, 50, 384))


@pytest.mark.parametrize(("std", "edits"), [(0.02, []), (1.0, ["objective.encoder.prefix_std=1"])])
def test_component_cls_initialisation(std, edits):
    recipe, _ = load_recipe("ecg-nepa-s", ["objective.encoder.depth=1", *edits])
    values = build_objective(recipe).student.prefix
    assert values.std().item() == pytest.approx(std, rel=0.1)
    assert values.abs().max() > 2.3 * std  # not cut off


def test_component_rotary_positions(objective):
    """Coordinates of time on [-1, 1], theta 100, 32 frequencies a head, tiled twice."""
    angles = objective.student.rotary((200,))
    coordinates = 2 * (torch.arange(200) + 0.5) / 200 - 1
    frequencies = 100.0 ** -(torch.arange(32) / 32)
    expected = 2 * pi * coordinates[:, None] * frequencies
    torch.testing.assert_close(angles, expected.repeat(1, 2), atol=1e-4, rtol=1e-5)


def test_component_causal_attention(objective, x):
    changed = x.clone()
    changed[..., 625:] += 1
    before, after = (objective.student.features(signal)[1] for signal in (x, changed))
    assert torch.equal(before[:, :25], after[:, :25])
    assert not torch.allclose(before[:, 25:], after[:, 25:])


def test_component_stop_gradient_on_targets(objective, x):
    embedded = objective.student.embed(x)
    objective.zero_grad()
    objective(Batch.whole(x)).total().backward()
    taught = objective.student.project.weight.grad.clone()
    objective.zero_grad()
    predicted = torch.cat(objective.student.features(x), 1)[:, :-1]
    (-F.cosine_similarity(predicted, embedded.detach(), dim=-1).mean()).backward()
    torch.testing.assert_close(taught, objective.student.project.weight.grad)


def test_component_qk_normalisation(objective):
    attention = objective.student.transformer.blocks[0].attn
    for norm in (attention.q_norm, attention.k_norm):
        assert norm.weight is None
        assert norm(torch.randn(100, 64)).norm(dim=-1).sub(8).abs().max() < 1e-2  # sqrt of the head's 64 dims


def test_component_layer_scale(objective):
    block = objective.student.transformer.blocks[0]
    assert all(torch.equal(scale, torch.full((384,), 1e-5)) for scale in (block.scale1, block.scale2))


def test_component_transformer_block(objective):
    """Pre-norm; biases everywhere; MLP of two layers with GELU; LayerNorm eps 1e-12."""
    block = objective.student.transformer.blocks[0]
    assert (block.mlp.fc1.out_features, block.mlp.fc2.in_features, block.mlp.gated) == (1536, 1536, False)
    assert (block.norm1.eps, block.norm2.eps, objective.student.norm.eps) == (1e-12,) * 3
    assert all(part.bias is not None for part in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.norm1))


def test_component_drop_path():
    recipe, _ = load_recipe("ecg-nepa-s", ["objective.encoder.depth=3", "objective.encoder.block.drop_path=.2"])
    blocks = build_objective(recipe).student.transformer.blocks
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.1, 0.2])


def test_component_loss(objective, x):
    embedded, (prefix, patches) = objective.student.embed(x), objective.student.features(x)
    pairs = F.cosine_similarity(torch.cat([prefix, patches[:, :-1]], 1), embedded, dim=-1)
    assert objective(Batch.whole(x)).total().item() == pytest.approx(-pairs.mean().item(), rel=1e-5)


def test_component_one_dimensional_patches(objective, x):
    weight, bias = objective.student.project.weight, objective.student.project.bias
    convolved = F.conv1d(x, weight.unflatten(1, (12, 25)), bias, stride=25).transpose(1, 2)
    torch.testing.assert_close(objective.student.embed(x), convolved, atol=1e-5, rtol=1e-4)


def test_component_data_processing():
    """Mean and deviation of each lead over the training part, values cut at 5, random crops in time."""
    config = small().data.model_copy(update={"simulator": SimulatorConfig(patients=6, fs=500, duration_s=12)})
    dataset = training_data(config, [])
    assert isinstance(dataset, EcgDataset)
    assert (len(dataset.preprocessing.mean), dataset.preprocessing.clip) == (12, 5)
    crops, starts = dataset.crops([0] * 8, [generator(0, "crop", i) for i in range(8)])
    assert crops.shape == (8, 12, 5000)
    assert len(set(starts.tolist())) > 1
    assert np.abs(crops).max() <= 5


# --- hyperparameters


def test_hyperparameter_learning_rate():
    assert small().training.optimiser.at(10_000, 100_000)[0] == 1e-3


def test_hyperparameter_warm_up_steps():
    optimiser = small().training.optimiser
    assert optimiser.warmup == 10_000
    assert optimiser.at(5000, 100_000)[0] == pytest.approx(5e-4)


def test_hyperparameter_weight_decay():
    optimiser = small().training.optimiser
    assert {optimiser.at(step, 100_000)[1] for step in (0, 50_000, 99_999)} == {0.05}


@pytest.mark.parametrize(("number", "beta"), [(0, 0.9), (1, 0.99)], ids=["adam_beta1", "adam_beta2"])
def test_hyperparameter(number, beta):
    assert small().training.optimiser.betas[number] == beta


@pytest.mark.parametrize(
    ("key", "value"),
    [("layer_scale", 1e-5), ("qk_norm", "plain"), ("qkv_bias", True)],
    ids=["layer_scale", "qk_norm", "qkv_bias"],
)
def test_hyperparameter_of_blocks(key, value):
    assert getattr(small().objective.encoder.block, key) == value


def test_hyperparameter_rope_theta():
    assert small().objective.encoder.positions.theta == 100.0


def test_steps_and_batch_are_our_choice_and_said_so():
    assert (small().training.steps, small().training.batch_size) == (100_000, 2048)


# --- architecture


@pytest.mark.parametrize(
    ("key", "value"),
    [("dim", 384), ("depth", 8), ("heads", 6), ("patch", (25,))],
    ids=["hidden_size", "num_layers", "num_heads", "patch_size"],
)
def test_architecture(key, value):
    assert getattr(small().objective.encoder, key) == value


def test_architecture_intermediate_size():
    assert small().objective.encoder.block.mlp_ratio * small().objective.encoder.dim == 1536


def test_architecture_signal_length():
    assert (small().data.size, small().data.fs) == ((5000,), 500)


def test_architecture_channels():
    assert (small().data.channels, small().data.leads) == (12, LEADS)


def parameters(recipe: Recipe) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_objective(recipe).student.parameters())


def transformer(dim: int, depth: int, qk: int = 0) -> int:
    """Parameters of blocks with biases, LayerScale, MLP ratio 4, and of the last LayerNorm; qk: of q and k norms."""
    return depth * (12 * dim**2 + 15 * dim + qk) + 2 * dim


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("ecg-nepa-s", 14_318_592),
        ("ecg-nepa-demo", 122 * 96 + transformer(96, 4)),
        ("nepa-b14", (3 * 14**2 + 2) * 768 + transformer(768, 12)),
        ("nepa-l14", (3 * 14**2 + 2) * 1024 + transformer(1024, 24, 2 * 64)),
        ("nepa-cifar10", (3 * 4**2 + 2) * 192 + transformer(192, 6)),
    ],
)
def test_parameters(name: str, count: int):
    assert parameters(load_recipe(name)[0]) == count


# --- absolute time


def test_a_crop_of_2_5_s_sees_its_own_part_of_the_angles_of_10_s(objective):
    """Cut from the middle, fine-tuning sees tokens 50 to 99 as they were in pretraining, not 200 tokens' range."""
    rotary = objective.student.rotary
    record = ArraySamples(("a",), [np.zeros((12, 5000), np.float32)])
    seen = set()
    for seed in range(4):
        crop, start = random_crops(
            record, Windows(length=1250, absolute=True), 25, np.array([0]), generator(seed, "c", 0)
        )
        angles, first = rotary((crop.shape[-1] // 25,), start)[0], start.item()
        coordinates = (2 * (first + torch.arange(50)) + 1) / 200 - 1
        torch.testing.assert_close(angles[:, 0], 2 * pi * coordinates, atol=1e-5, rtol=1e-5)
        seen.add(first)
    assert len(seen) == 4
    torch.testing.assert_close(rotary((200,))[50:100], rotary((50,), torch.tensor([50.0]))[0])
    torch.testing.assert_close(rotary((200,))[:50], rotary((50,)))  # without a place: the first 2.5 s


def test_stretched_positions_are_only_for_foreign_checkpoints(objective):
    config = small().objective.encoder
    stretched = config.model_copy(
        update={"depth": 1, "positions": config.positions.model_copy(update={"span": "input"})}
    )
    rotary = ViT(stretched, 12, (5000,)).rotary
    assert rotary is not None
    torch.testing.assert_close(rotary((200,)), objective.student.rotary((200,)))
    ratio = (rotary((50,))[1] - rotary((50,))[0]) / (rotary((200,))[1] - rotary((200,))[0])
    torch.testing.assert_close(ratio, torch.full((64,), 4.0), atol=1e-2, rtol=1e-3)
    with pytest.raises(ValueError, match="no absolute place"):
        rotary((50,), torch.tensor([3.0]))
    with pytest.raises(InputError, match="stretched positions have no place"):
        load_recipe("ecg-nepa-s", ["objective.encoder.positions.span=input"])
    names = ("ecg-nepa-s", "ecg-nepa-demo", "nepa-b14", "nepa-l14", "nepa-cifar10")
    assert {load_recipe(name)[0].objective.encoder.positions.span for name in names} == {"grid"}


# --- random rescaling


def test_rescaling_draws_one_factor_a_forward_in_training_only():
    recipe = load_recipe("nepa-b14", ["objective.encoder.depth=1"])[0]
    assert recipe.objective.encoder.positions.rescale == 2.0
    rotary = build_objective(recipe).student.rotary
    plain = rotary.eval()((8, 8))
    torch.testing.assert_close(plain, rotary((8, 8)))
    rotary.train()
    torch.manual_seed(0)
    factors = []
    for _ in range(200):
        ratio = rotary((8, 8)) / plain
        torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
        factors.append(ratio[0, 0].item())
    assert 0.5 <= min(factors) < 0.55
    assert 1.85 < max(factors) <= 2
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=0.1)


def test_rescaling_is_off_for_ecg():
    assert all(
        load_recipe(name)[0].objective.encoder.positions.rescale is None for name in ("ecg-nepa-s", "ecg-nepa-demo")
    )


# --- images as published


@pytest.mark.parametrize("name", ["nepa-b14", "nepa-l14"])
def test_published_training_on_images(name: str):
    recipe = load_recipe(name)[0]
    training, optimiser = recipe.training, recipe.training.optimiser
    assert (training.batch_size, training.steps) == (4096, 1600 * 313)
    assert optimiser.lr == pytest.approx(3e-4 * 4096 / 256)
    assert optimiser.warmup == round(0.025 * training.steps)
    assert (optimiser.betas, optimiser.eps, optimiser.clip) == ((0.9, 0.95), 1e-8, 1.0)
    assert optimiser.at(0, training.steps) == (0, 0.05)
    assert recipe.objective.ema == 0.9999
    assert recipe.data.size == (224, 224)
    assert recipe.data.augmentation.crop.scale == (0.08, 1.0)
    assert recipe.data.mean == recipe.data.std == (0.5, 0.5, 0.5)


def test_published_decay_rule():
    with torch.device("meta"):
        student = build_objective(load_recipe("nepa-l14")[0]).student
    decayed, rest = decay_groups(student, "not_1d")
    assert load_recipe("nepa-l14")[0].training.optimiser.decay_rule == "not_1d"
    assert {"prefix", "project.weight"} <= decayed.keys()
    assert all(name == "prefix" or name.endswith(".weight") for name in decayed)
    undecayed = {
        "bias",
        "scale1",
        "scale2",
        "q_norm.weight",
        "k_norm.weight",
        "norm.weight",
        "norm1.weight",
        "norm2.weight",
    }
    assert all(name.endswith(tuple(undecayed)) for name in rest)


def test_cifar_has_the_encoder_size_of_ijepa():
    ours, theirs = (load_recipe(name)[0].objective.encoder for name in ("nepa-cifar10", "ijepa-cifar10"))
    assert all(getattr(ours, key) == getattr(theirs, key) for key in ("patch", "dim", "depth", "heads"))
