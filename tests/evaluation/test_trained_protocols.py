"""Attentive probe and fine-tuning on signals whose classes are frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.data.samples import ArraySamples, SelectedSamples
from anyjepa.errors import InputError
from anyjepa.evaluation.attentive import AttentiveProbe, attentive_probe
from anyjepa.evaluation.classifier import as_probabilities, record_logits
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.features import Tokens, token_features
from anyjepa.evaluation.finetune import Finetune, finetune, random_crops
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.splits import Split
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT, ViTConfig

WINDOWS = Windows(length=40, stride=20)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return ViT(ViTConfig(patch=(10,), dim=32, depth=1, heads=2, registers=1), channels=1, size=(40,)).eval()


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    time = np.arange(80)
    signals = [
        np.sin(time * (0.3, 0.9)[label] + rng.uniform(0, 6))[None].astype(np.float32)[:, : rng.choice([60, 80])]
        for label in labels
    ]
    order = rng.permutation(120)
    samples = ArraySamples(tuple(map(str, range(120))), signals)
    return samples, np.eye(2, dtype=np.float32)[labels], Split(order[:60], order[60:80], order[80:], seed=0)


def test_attentive_probe_separates(encoder, waves):
    samples, values, split = waves
    tokens = token_features(encoder, samples, WINDOWS)
    config = AttentiveProbe(fit=FitConfig(steps=80, lr=3e-3, clip=1.0, precision="32"))
    result = attentive_probe(encoder, tokens, values, split, True, config)
    assert result.scores.shape == (40, 2)
    assert result.scores.sum(1) == pytest.approx(np.ones(40), abs=1e-5)
    assert macro(auroc(values[split.test], result.scores)) > 0.97
    again = attentive_probe(encoder, tokens, values, split, True, config)
    assert np.array_equal(result.scores, again.scores)


def test_attentive_probe_never_sees_test_labels(encoder, waves):
    samples, values, split = waves
    tokens = token_features(encoder, samples, WINDOWS)
    garbled = values.copy()
    garbled[split.test] = 1 - garbled[split.test]
    config = AttentiveProbe(fit=FitConfig(steps=5, precision="32"))
    first, second = (attentive_probe(encoder, tokens, v, split, True, config).scores for v in (values, garbled))
    assert np.array_equal(first, second)


def test_clips_read_jointly_say_what_none_says_alone(encoder):
    """Are the two windows of a record of the same kind?"""
    rng = np.random.default_rng(0)
    kind, means = rng.integers(0, 2, (120, 2)), rng.normal(size=(2, 32))
    patches = means[kind.ravel(), None] + 0.3 * rng.normal(size=(240, 4, 32))
    tokens = Tokens(np.zeros((240, 0, 32), np.float16), patches.astype(np.float16), np.repeat(np.arange(120), 2))
    values = np.eye(2, dtype=np.float32)[(kind[:, 0] == kind[:, 1]).astype(int)]
    split = Split(np.arange(60), np.arange(60, 80), np.arange(80, 120), seed=0)
    fit = FitConfig(steps=60, batch=60, lr=3e-3, final_lr=0, precision="32")
    joint, averaged = (
        attentive_probe(
            encoder, tokens, values, split, True, AttentiveProbe(head="attentive-block", joint=one, fit=fit)
        )
        for one in (True, False)
    )
    assert macro(auroc(values[split.test], joint.scores)) > 0.97
    assert macro(auroc(values[split.test], averaged.scores)) < 0.75
    assert joint.scores.sum(1) == pytest.approx(np.ones(40), abs=1e-5)


@pytest.mark.parametrize("head", ["attentive", "attentive-block"])
def test_a_record_read_jointly_does_not_depend_on_its_neighbours(encoder, waves, head):
    """Records have three windows or two; beside one of three, one of two is padded."""
    samples, values, split = waves
    tokens = token_features(encoder, samples, WINDOWS)
    config = AttentiveProbe(head=head, joint=True, fit=FitConfig(steps=5, precision="32"))
    together = attentive_probe(encoder, tokens, values, split, True, config)
    counts = {len(WINDOWS.starts(samples[row].shape[1])) for row in split.test}
    assert counts == {2, 3}
    found = record_logits(encoder, together.head, SelectedSamples(samples, split.test), WINDOWS)
    alone = as_probabilities(found.mean(len(split.test)), exclusive=True)  # whole in single precision
    np.testing.assert_allclose(together.scores, alone, atol=2e-3)
    for place in range(2):
        one = Split(split.train, split.validation, split.test[[place]], seed=0)
        scores = attentive_probe(encoder, tokens, values, one, True, config).scores
        np.testing.assert_allclose(scores[0], together.scores[place], atol=1e-6)


def test_windows_evenly_spread():
    assert Windows(length=16, count=8).starts(86) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert Windows(length=16, count=3).starts(17) == [0, 1]  # as many as differ
    assert Windows(length=16, count=8).starts(16) == [0]
    assert Windows(length=16, count=1).starts(36) == [10]
    with pytest.raises(ValueError, match="set one of stride and count, not both"):
        Windows(length=16, stride=4, count=2)
    with pytest.raises(ValueError, match="joint=true reads all windows of a record at once"):
        AttentiveProbe(crops="random", joint=True)


@pytest.mark.parametrize("head", ["mean", "register", "attentive"])
def test_finetuning_separates_and_leaves_the_encoder_alone(encoder, waves, head):
    samples, values, split = waves
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    config = Finetune(head={"kind": head}, fit=FitConfig(steps=60, lr=3e-3, final_lr=1e-5, warmup=5, precision="32"))
    result = finetune(encoder, samples, values, split, False, WINDOWS, config)
    assert macro(auroc(values[split.test], result.scores)) > 0.95
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_register_head_on_an_encoder_without_registers_is_one_line(waves):
    samples, values, split = waves
    plain = ViT(ViTConfig(patch=(10,), dim=8, depth=1, heads=2), channels=1, size=(40,))
    config = Finetune(head={"kind": "register"}, fit=FitConfig(steps=1, precision="32"))
    with pytest.raises(InputError, match=r"^head\.kind=register needs an encoder with a register or CLS token; choose"):
        finetune(plain, samples, values, split, False, WINDOWS, config)


def test_from_scratch_ignores_the_weights(encoder, waves):
    samples, values, split = waves
    config = Finetune(fit=FitConfig(steps=3, validate_every=1, precision="32"))
    other = ViT(encoder.config, channels=1, size=(40,))
    starts = [random_encoder(e, split.seed) for e in (encoder, other)]
    scratch = [finetune(e, samples, values, split, True, WINDOWS, config).scores for e in starts]
    tuned = [finetune(e, samples, values, split, True, WINDOWS, config).scores for e in (encoder, other)]
    assert np.array_equal(*scratch)
    assert not np.allclose(*tuned)


def test_options_of_the_training_work_together(encoder, waves):
    samples, values, split = waves
    fit = FitConfig(steps=60, lr=3e-3, layer_decay=0.7, ema=0.9, pos_weight="balanced", drop_last=True, precision="32")
    result = finetune(encoder, samples, values, split, False, WINDOWS, Finetune(fit=fit))
    assert macro(auroc(values[split.test], result.scores)) > 0.95


def test_finetuning_may_begin_where_a_probe_ended(encoder, waves):
    """Without a step of its own worth the name, it scores what the probe scored."""
    samples, values, split = waves
    fit = FitConfig(steps=20, lr=3e-3, precision="32")
    settings = Finetune(head={"kind": "attentive"}, dropout=0, fit=fit)
    probed = finetune(encoder, samples, values, split, True, WINDOWS, settings, frozen=True)
    assert probed.encoder is None
    still = Finetune(head={"kind": "attentive"}, after="attentive", fit=FitConfig(steps=1, lr=1e-12, precision="32"))
    begun = finetune(encoder, samples, values, split, True, WINDOWS, still, head=probed.head)
    assert np.allclose(begun.scores, probed.scores, atol=1e-5)
    with pytest.raises(ValueError, match=r"after=attentive needs head\.kind=attentive, got 'mean'"):
        Finetune(after="attentive")


def test_crops_lie_inside_and_know_their_start(waves):
    samples, _, _ = waves
    rows, rng = np.arange(50), np.random.default_rng(0)
    x, start = random_crops(samples, Windows(length=40, absolute=True), 10, rows, rng)
    for row in rows:
        first = round(float(start[row]) * 10)
        assert np.array_equal(x[row].numpy(), samples[row][:, first : first + 40])
    assert len(random_crops(samples, WINDOWS, 10, rows, rng)) == 1


def test_unequal_records_need_a_window(waves):
    samples, _, _ = waves
    with pytest.raises(InputError, match="60 to 80 samples; set a window length for fine-tuning"):
        random_crops(samples, Windows(), 10, np.arange(50), np.random.default_rng(0))
    with pytest.raises(InputError, match="has 60 samples; the encoder needs 70"):
        random_crops(samples, Windows(length=70), 10, np.arange(50), np.random.default_rng(0))
