from __future__ import annotations

import numpy as np
import pytest

from anyjepa.evaluation.logistic import fit_logistic, probabilities
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.probes import (
    KnnProbe,
    LinearProbe,
    knn_probe,
    linear_probe,
    selection_score,
    spread,
    standardised,
)
from anyjepa.evaluation.splits import Split


def clusters(n: int, dim: int, classes: int, apart: float, seed: int = 0):
    """Features (n, dim) around one centre a class, one-hot values, and a split in thirds."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    x = apart * rng.normal(size=(classes, dim))[labels] + rng.normal(size=(n, dim))
    order = rng.permutation(n)
    return x, np.eye(classes)[labels], Split(order[: n // 3], order[n // 3 : 2 * n // 3], order[2 * n // 3 :], seed=0)


def test_separable_classes_are_separated():
    x, values, split = clusters(300, 8, 3, apart=10.0)
    for scores in (
        linear_probe(x, values, split, True, LinearProbe()).scores,
        linear_probe(x, values, split, False, LinearProbe(balanced=True)).scores,
        knn_probe(x, values, split, KnnProbe()).scores,
    ):
        assert auroc(values[split.test], scores).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("probe", ["linear", "knn"])
def test_shuffled_labels_give_chance(probe):
    areas = []
    for seed in range(10):
        x, values, split = clusters(300, 8, 3, apart=1.0, seed=seed)
        values = np.random.default_rng(seed).permutation(values)
        if probe == "linear":
            scores = linear_probe(x, values, split, True, LinearProbe()).scores
        else:
            scores = knn_probe(x, values, split, KnnProbe()).scores
        areas.append(macro(auroc(values[split.test], scores)))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_strength_is_chosen_on_the_validation_part_alone():
    x, values, split = clusters(150, 40, 3, apart=0.4)
    config = LinearProbe()
    result = linear_probe(x, values, split, True, config)
    z, _ = standardised(x, split.train)
    quality = {
        c: selection_score(
            values[split.validation],
            probabilities(z[split.validation], fit_logistic(z[split.train], values[split.train], c, True), True),
        )
        for c in config.strengths
    }
    assert quality[result.chosen["strength"]][0] == pytest.approx(max(quality.values())[0], abs=2e-3)
    garbled = values.copy()
    garbled[split.test] = np.random.default_rng(0).permutation(values[split.test])
    assert np.array_equal(linear_probe(x, garbled, split, True, config).scores, result.scores)


def test_refitting_uses_the_validation_part_once_the_penalty_is_chosen():
    x, values, split = clusters(150, 10, 3, apart=0.4)
    plain = linear_probe(x, values, split, True, LinearProbe())
    refitted = linear_probe(x, values, split, True, LinearProbe(refit=True))
    assert refitted.chosen == plain.chosen
    assert np.array_equal(refitted.validation, plain.validation)  # thresholds come from records it was not trained on
    z, both = standardised(x, split.train)[0], np.concatenate([split.train, split.validation])
    expected = probabilities(
        z[split.test], fit_logistic(z[both], values[both], plain.chosen["strength"], exclusive=True), True
    )
    assert refitted.scores == pytest.approx(expected, abs=1e-3)
    assert not np.allclose(refitted.scores, plain.scores, atol=1e-2)


def test_equal_areas_are_decided_by_log_loss():
    values = np.array([[1.0], [0.0]])
    sure, unsure, wrong = (np.array([[p], [1 - p]]) for p in (0.9, 0.6, 0.4))
    assert selection_score(values, sure) > selection_score(values, unsure) > selection_score(values, wrong)
    assert selection_score(values[:1], sure[:1]) > selection_score(values[:1], unsure[:1])  # no class has an AUROC


def test_standardising_uses_the_given_rows_and_survives_constants():
    x = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 7.0]])
    assert standardised(x, np.array([0, 1]))[0].tolist() == [[-1, 0], [1, 0], [98, 0]]


def test_knn_by_hand_and_with_few_records():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [2.0, 0.1]])
    values = np.eye(2)[[0, 1, 1, 1, 0]]
    split = Split(np.arange(4), np.arange(0), np.array([4]), seed=0)
    nearest = knn_probe(x, values, split, KnnProbe(neighbours=1))
    assert nearest.scores.tolist() == [[1.0, 0.0]]
    everybody = knn_probe(x, values, split, KnnProbe(neighbours=20, temperature=1e6))
    assert everybody.chosen == {"neighbours": 4}
    assert everybody.scores == pytest.approx(np.array([[0.25, 0.75]]))


@pytest.mark.parametrize("temperature", [1e-4, 0.07, 1.0])
def test_knn_weights_are_those_of_the_formula(temperature):
    x, values, split = clusters(90, 4, 3, apart=1.0)
    z = standardised(x, split.train)[0]
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    similarity = z[split.test] @ z[split.train].T
    order = np.argsort(-similarity, axis=1)[:, :20]
    weights = np.take_along_axis(similarity, order, 1) / temperature
    weights = np.exp(weights - np.logaddexp.reduce(weights, axis=1, keepdims=True))
    expected = (weights[..., None] * values[split.train][order]).sum(1)
    scores = knn_probe(x, values, split, KnnProbe(temperature=temperature)).scores
    assert scores == pytest.approx(expected, abs=1e-2 if temperature < 1e-3 else 1e-5)  # of float32 similarities


def test_degenerate_classes_do_not_stop_a_probe():
    x, values, split = clusters(60, 4, 2, apart=10.0)
    absent = np.c_[values, np.zeros(60), np.ones(60)]  # never and always true
    for balanced in (False, True):
        scores = linear_probe(x, absent, split, False, LinearProbe(balanced=balanced)).scores
        assert np.isfinite(scores).all()
        assert auroc(absent[split.test], scores)[:2].tolist() == [1.0, 1.0]
    only = np.ones((60, 1))
    assert np.isfinite(linear_probe(x, only, split, False, LinearProbe()).scores).all()


def test_a_probe_reports_the_spread_that_it_scales_away():
    x, values, split = clusters(300, 8, 3, apart=10.0)
    squeezed = 1 + 1e-6 * x
    for probed in (
        linear_probe(squeezed, values, split, True, LinearProbe()),
        knn_probe(squeezed, values, split, KnnProbe()),
    ):
        assert auroc(values[split.test], probed.scores).tolist() == [1.0, 1.0, 1.0]
        assert probed.spread < 2e-5
    assert linear_probe(x, values, split, True, LinearProbe()).spread > 0.5


def test_spread_by_hand():
    x = np.array([[3.0, 4.0], [3.0, 4.0], [-3.0, -4.0], [9.0, 9.0]])
    assert spread(x, np.array([0, 1])) == 0
    assert spread(x, np.array([0, 2])) == 1
    assert spread(0 * x, np.array([0, 1])) == 0
