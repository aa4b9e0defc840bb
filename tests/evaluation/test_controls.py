from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.data.samples import ArraySamples
from anyjepa.evaluation.controls import patch_features, random_encoder, raw_features
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT, ViTConfig


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    config = ViTConfig(patch=(5,), dim=16, depth=1, heads=2, registers=1)
    return ViT(config, channels=2, size=(40,)).eval()


def test_random_encoders_differ_by_seed_only(encoder):
    first, again, other = (random_encoder(encoder, seed).project.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, encoder.project.weight)
    dropped = encoder.config.model_copy(update={"block": encoder.config.block.model_copy(update={"dropout": 0.3})})
    assert random_encoder(encoder, 0, dropped).transformer.blocks[0].dropout.p == 0.3
    assert encoder.config.block.dropout == 0


def test_random_encoders_leave_the_generator_alone(encoder):
    state = torch.get_rng_state()
    random_encoder(encoder, 0)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(12, 5000), (3, 32, 32), (1, 16, 32, 32), (2, 7)])
def test_raw_input_is_capped_and_named(shape):
    samples = ArraySamples(("a", "b"), [np.ones(shape, np.float32), np.zeros(shape, np.float32)])
    found = raw_features(samples, 1000, samples[0].shape)
    (bins, means), (_, statistics) = found.items()
    assert means.shape[1] <= 1000
    assert means.shape[1] >= min(np.prod(shape), 600)
    assert means.tolist() == [[1.0] * means.shape[1], [0.0] * means.shape[1]]
    assert "x".join(map(str, bins.split("(")[1].split(" bin")[0].split(" x "))).startswith(f"{shape[0]}x")
    assert statistics.shape == (2, 4 * shape[0])


def test_small_inputs_stay_whole():
    samples = ArraySamples(("a",), [np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)])
    ((name, means), _) = raw_features(samples, 80, samples[0].shape).items()
    assert name == "raw input (2 x 40 bin means)"
    assert np.array_equal(means[0], samples.signals[0].ravel())


@pytest.mark.parametrize("summary", ["dynamics", "middle"])
def test_raw_patches_leave_out_what_is_no_whole_patch(summary):
    signal = np.random.default_rng(0).normal(size=(2, 43)).astype(np.float32)
    signal[1] = np.nan  # an absent channel
    long, short = (ArraySamples(("a",), [signal[:, :end]]) for end in (43, 40))
    found = patch_features(long, Windows(length=43), (5,), summary)
    assert np.array_equal(found, patch_features(short, Windows(length=40), (5,), summary))
    assert np.isfinite(found).all()
