from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.data.samples import ArraySamples, SelectedSamples, signal_hash
from anyjepa.errors import InputError
from anyjepa.evaluation.features import mean_features, token_features
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT, ViTConfig


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    config = ViTConfig(patch=(5,), dim=16, depth=1, heads=2, registers=1)
    return ViT(config, channels=2, size=(40,)).eval()


def signals(*lengths: int) -> ArraySamples:
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(2, length)).astype(np.float32) for length in lengths]
    return ArraySamples(tuple(f"r{i}" for i in range(len(lengths))), drawn)


@torch.no_grad()
def test_a_record_is_the_mean_of_its_patch_tokens(encoder):
    samples = signals(40, 20, 40, 25)
    found = mean_features(encoder, samples, Windows(batch=2))
    for row, signal in enumerate(samples.signals):
        _, patches = encoder.features(torch.as_tensor(signal)[None])
        assert found[row] == pytest.approx(patches[0].mean(0).numpy(), abs=1e-6)


def test_batches_change_nothing(encoder):
    samples = signals(40, 20, 40, 25, 20)
    one, many = (mean_features(encoder, samples, Windows(batch=b)) for b in (1, 64))
    assert one == pytest.approx(many, abs=1e-6)


def test_windows_are_averaged(encoder):
    samples = signals(40)
    found = mean_features(encoder, samples, Windows(length=20, stride=10))
    pieces = ArraySamples(("a", "b", "c"), [samples.signals[0][:, i : i + 20] for i in (0, 10, 20)])
    assert found[0] == pytest.approx(mean_features(encoder, pieces, Windows()).mean(0), abs=1e-6)


@torch.no_grad()
def test_absolute_positions_start_where_the_window_starts(encoder):
    samples = signals(40)
    found = token_features(encoder, samples, Windows(length=20, stride=20, absolute=True))
    _, patches = encoder.features(torch.as_tensor(samples.signals[0][None, :, 20:]), torch.tensor([4.0]))
    assert found.patches[1] == pytest.approx(patches[0].half().numpy(), abs=2e-3)
    relative = token_features(encoder, samples, Windows(length=20, stride=20))
    assert np.abs(relative.patches[1].astype(float) - found.patches[1]).max() > 1e-2


def test_windows_cover_the_record():
    assert Windows(length=1250, stride=625).starts(5000) == [0, 625, 1250, 1875, 2500, 3125, 3750]
    assert Windows(length=10, stride=8).starts(20) == [0, 8, 10]
    assert Windows(length=10, stride=8, tail="drop").starts(20) == [0, 8]
    assert Windows(length=10).starts(20) == [0, 5, 10]
    assert Windows(length=10).starts(10) == [0]
    assert Windows().starts(77) == [0]


def test_an_incomplete_last_patch_is_left_out(encoder):
    whole, longer = signals(20), signals(20)
    longer.signals[0] = np.concatenate([whole.signals[0], np.ones((2, 3), np.float32)], axis=1)
    assert np.array_equal(mean_features(encoder, longer, Windows()), mean_features(encoder, whole, Windows()))


def test_unfit_records_are_named(encoder):
    with pytest.raises(InputError, match="record 'r1' has 15 samples; the encoder needs 20"):
        mean_features(encoder, signals(40, 15), Windows(length=20))
    with pytest.raises(InputError, match="record 'r0' has 3 samples; the encoder needs 5"):
        mean_features(encoder, signals(3), Windows())
    with pytest.raises(InputError, match="record 'r0': input of \\(22,\\) samples is not a positive multiple"):
        mean_features(encoder, signals(40), Windows(length=22))
    with pytest.raises(InputError, match="20 to 40 samples; set a window length for token features"):
        token_features(encoder, signals(40, 20), Windows())


def test_tokens_of_windows(encoder):
    tokens = token_features(encoder, signals(40, 20), Windows(length=20, stride=10))
    assert tokens.record.tolist() == [0, 0, 0, 1]
    assert tokens.prefix.shape == (4, 1, 16)
    assert tokens.patches.shape == (4, 4, 16)


def test_features_leave_the_encoder_as_it_was(encoder):
    encoder.train()
    mean_features(encoder, signals(40), Windows())
    assert encoder.training
    encoder.eval()


def test_signal_hashes():
    x = np.arange(6, dtype=np.float32)
    assert signal_hash(x.reshape(2, 3)) == signal_hash(np.asfortranarray(x.reshape(2, 3)))
    assert signal_hash(x.reshape(2, 3)) != signal_hash(x.reshape(3, 2))


def test_selected_samples():
    samples = signals(40, 20, 25)
    chosen = SelectedSamples(samples, [2, 0])
    assert (chosen.ids, len(chosen)) == (("r2", "r0"), 2)
    assert np.array_equal(chosen[0], samples[2])


def test_records_of_known_lengths_are_read_once():
    class Counted(ArraySamples):
        lengths = np.full(5, 40)
        reads = 0

        def __getitem__(self, index: int) -> np.ndarray:
            type(self).reads += 1
            return super().__getitem__(index)

    signals = [np.random.default_rng(place).normal(size=(2, 40)).astype(np.float32) for place in range(5)]
    encoder = ViTConfig(patch=(5,), dim=8, depth=1, heads=2).build(2, (40,))
    names = tuple("abcde")
    mean = mean_features(encoder, Counted(names, signals), Windows())
    assert Counted.reads == 5
    assert np.array_equal(mean, mean_features(encoder, ArraySamples(names, signals), Windows()))
