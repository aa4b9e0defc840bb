from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from anyjepa.evaluation.fitting import FitConfig, as_probabilities, fit_classifier, mean_by_record
from anyjepa.evaluation.splits import Split


def problem(n: int = 60):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = torch.as_tensor(2 * rng.normal(size=(3, 5))[labels] + 0.3 * rng.normal(size=(n, 5)), dtype=torch.float32)
    order = rng.permutation(n)
    return x, np.eye(3, dtype=np.float32)[labels], Split(order[:30], order[30:45], order[45:], seed=0)


def run(config: FitConfig, exclusive: bool = True, validation=None):
    x, values, split = problem()
    torch.manual_seed(0)
    network = nn.Linear(5, 3)
    used = []

    def inputs(rows, rng):
        used.append(rows)
        return (x[rows],)

    def predict(rows):
        with torch.no_grad():
            return as_probabilities(network(x[rows]), exclusive)

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


def test_logits_are_averaged_by_record():
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    assert mean_by_record(logits, np.array([1, 1, 0]), 2).tolist() == [[9, 9], [2, 3]]
