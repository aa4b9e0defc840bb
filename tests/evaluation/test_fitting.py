from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from anyjepa.errors import InputError
from anyjepa.evaluation.classifier import Classifier, WindowLogits, as_probabilities
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.fitting import fit_classifier, parameter_groups
from anyjepa.evaluation.splits import Split
from anyjepa.nn.pooling import HeadConfig, TokenHead
from anyjepa.nn.vit import ViT, ViTConfig


def problem(n: int = 60):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = torch.as_tensor(2 * rng.normal(size=(3, 5))[labels] + 0.3 * rng.normal(size=(n, 5)), dtype=torch.float32)
    order = rng.permutation(n)
    return x, np.eye(3, dtype=np.float32)[labels], Split(order[:30], order[30:45], order[45:], seed=0)


def run(config: FitConfig, exclusive: bool = True, validation=None, norm=nn.Identity):
    x, values, split = problem()
    torch.manual_seed(0)
    network = nn.Linear(5, 3) if norm is nn.Identity else nn.Sequential(nn.Linear(5, 3), norm(3))
    used = []

    def inputs(rows, rng):
        used.append(rows)
        return (x[rows],)

    def predict(rows):
        with torch.no_grad():
            return as_probabilities(network(x[rows]).numpy(), exclusive)

    chosen = fit_classifier(network, inputs, validation or predict, values, split, exclusive, config)
    return network, chosen, used, predict, values, split


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_learns_from_training_records_only(exclusive):
    _, chosen, used, predict, values, split = run(FitConfig(steps=60, batch=16, lr=0.05, precision="32"), exclusive)
    assert (predict(split.test).argmax(1) == values[split.test].argmax(1)).mean() > 0.9
    assert set(np.concatenate(used)) == set(split.train)
    assert 0 < chosen["steps"] <= 60


def test_epochs_see_every_record_once():
    _, _, used, *_ = run(FitConfig(steps=15, batch=16, precision="32"))
    drawn = np.concatenate(used)[:240]
    for epoch in range(8):
        assert len(set(drawn[30 * epoch : 30 * (epoch + 1)])) == 30


def test_the_best_validated_state_is_kept():
    seen = []

    def validation(rows):  # good at the second validation only
        seen.append(1)
        _, values, _ = problem()
        return values[rows] if len(seen) == 2 else 1 - values[rows]

    network, chosen, *_ = run(FitConfig(steps=20, validate_every=5, precision="32"), validation=validation)
    assert chosen == {"steps": 10.0}
    stopped, *_ = run(FitConfig(steps=10, validate_every=5, final_lr=1e-3, precision="32"))
    assert torch.equal(network.weight, stopped.weight)


def test_patience_ends_training():
    seen = []

    def validation(rows):
        seen.append(1)
        return np.zeros((len(rows), 3))

    run(FitConfig(steps=100, validate_every=5, patience=10, precision="32"), validation=validation)
    assert len(seen) == 3


def test_the_same_seed_gives_the_same_weights():
    config = FitConfig(steps=10, precision="32")
    assert torch.equal(run(config)[0].weight, run(config)[0].weight)


def test_windows_of_a_record_are_averaged_and_the_strongest_found():
    logits = np.array([[9, 9], [1, 4], [3, 2]], np.float32)
    vectors = np.array([[1, 2, 3], [4, 0, 0], [0, 0, 2]], np.float32)
    found = WindowLogits(logits, np.array([0, 1, 1]), np.array([0, 0, 20]), vectors)
    assert found.mean(2).tolist() == [[9, 9], [2, 3]]
    assert found.embeddings(2).tolist() == [[1, 2, 3], [2, 0, 1]]
    assert found.strongest(2).tolist() == [[0, 0], [20, 0]]


def test_the_last_batch_of_an_epoch_may_be_left_out():
    _, _, used, *_ = run(FitConfig(steps=4, batch=16, drop_last=True, precision="32"))
    assert [len(set(rows)) for rows in used] == [16] * 4  # 14 of each epoch of 30 are left out
    assert not np.array_equal(used[0], used[1])


def test_positive_labels_may_weigh_more():
    means = []
    for weight in (None, "balanced", 50):  # two false labels of a class for each true one
        *_, predict, _, split = run(FitConfig(steps=5, lr=0.05, pos_weight=weight, precision="32"), exclusive=False)
        means.append(predict(split.train).mean())
    assert means[0] < means[1] < means[2]
    with pytest.raises(InputError, match=r"pos_weight does not apply .* one 0/1 column per class \(--target A,B,C\)"):
        run(FitConfig(steps=1, pos_weight=2, precision="32"), exclusive=True)


def test_an_average_of_the_weights_is_validated_and_kept():
    plain, *_ = run(FitConfig(steps=1, validate_every=1, precision="32"))
    averaged, *_ = run(FitConfig(steps=1, validate_every=1, ema=0.99, precision="32"))
    assert torch.equal(plain.weight, averaged.weight)  # of one state
    two, *_ = run(FitConfig(steps=2, validate_every=2, precision="32"))
    mean, *_ = run(FitConfig(steps=2, validate_every=2, ema=0.99, precision="32"))
    assert torch.allclose(mean.weight, plain.weight + (1 - 3 / 12) * (two.weight - plain.weight))


def test_an_average_of_a_batch_norm_keeps_its_count_of_batches():
    network, *_ = run(FitConfig(steps=2, validate_every=2, ema=0.99, precision="32"), norm=nn.BatchNorm1d)
    assert network[1].num_batches_tracked == 2
    assert network[1].running_mean.abs().sum() > 0


def test_lower_layers_may_learn_more_slowly():
    encoder = ViT(ViTConfig(patch=(5,), dim=8, depth=2, heads=2, registers=1), channels=1, size=(20,))
    network = Classifier(encoder, TokenHead(HeadConfig(), 8, 2, 3))
    groups = parameter_groups(network, FitConfig(layer_decay=0.5, weight_decay=0.1))
    factor = {id(p): factor for (_, factor), parameters in groups.items() for p in parameters}
    blocks = encoder.transformer.blocks
    parts = (encoder.project.weight, encoder.prefix, blocks[0].norm1.weight, blocks[1].attn.qkv.weight)
    assert [factor[id(p)] for p in parts] == [0.125, 0.125, 0.25, 0.5]
    assert factor[id(encoder.norm.weight)] == factor[id(network.head.read.weight)] == 1
    assert len(factor) == len(list(network.parameters()))
    assert set(parameter_groups(network, FitConfig(weight_decay=0.1))) == {(0.1, 1.0), (0.0, 1.0)}


@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_all_that_is_below_the_blocks_learns_as_the_input_does(positions):
    config = ViTConfig(patch=(5,), dim=8, depth=2, heads=2, registers=1, absent=True, positions={"kind": positions})
    encoder = ViT(config, channels=2, size=(20,))
    groups = parameter_groups(Classifier(encoder, TokenHead(HeadConfig(), 8, 2, 3)), FitConfig(layer_decay=0.5))
    factor = {id(p): factor for (_, factor), parameters in groups.items() for p in parameters}
    below = [p for name, p in encoder.named_parameters() if not name.startswith(("transformer.blocks.", "norm."))]
    assert len(below) == 3 + (positions == "learned")
    assert {factor[id(p)] for p in below} == {0.125}


def test_a_frozen_encoder_stays_in_evaluation_mode():
    encoder = ViT(ViTConfig(patch=(5,), dim=8, depth=1, heads=2), channels=1, size=(20,))
    network = Classifier(encoder, TokenHead(HeadConfig(), 8, 2, 3), frozen=True).train()
    assert (encoder.training, network.head.training) == (False, True)
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["head.read.weight"]
