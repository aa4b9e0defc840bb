from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from anyjepa.evaluation import logistic
from anyjepa.evaluation.logistic import fit_logistic, probabilities


def clusters(n: int = 200, dim: int = 6, classes: int = 3, apart: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, dim) around one centre a class, standardised, and one-hot values."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    x = apart * rng.normal(size=(classes, dim))[labels] + rng.normal(size=(n, dim))
    return (x - x.mean(0)) / x.std(0), np.eye(classes)[labels]


@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_softmax_regression_equals_scikit_learn(strength, balanced):
    x, values = clusters()
    values[:30] = [1, 0, 0]  # unequal classes
    theirs = LogisticRegression(C=strength, class_weight="balanced" if balanced else None, tol=1e-8, max_iter=5000)
    theirs.fit(x, values.argmax(1))
    ours = fit_logistic(x, values, strength, exclusive=True, balanced=balanced)
    assert probabilities(x, ours, True) == pytest.approx(theirs.predict_proba(x), abs=2e-3)


@pytest.mark.parametrize("balanced", [False, True])
def test_one_versus_rest_equals_scikit_learn(balanced):
    x, values = clusters()
    values[:, 1] = np.maximum(values[:, 1], x[:, 0] > 1)  # some records have two classes
    ours = probabilities(x, fit_logistic(x, values, 0.1, exclusive=False, balanced=balanced), False)
    for c in range(3):
        theirs = LogisticRegression(C=0.1, class_weight="balanced" if balanced else None, tol=1e-8, max_iter=5000)
        theirs.fit(x, values[:, c])
        assert ours[:, c] == pytest.approx(theirs.predict_proba(x)[:, 1], abs=2e-3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_fewer_records_than_dimensions(exclusive: bool):
    x, values = clusters(30, 80)
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000)
    theirs.fit(x, values.argmax(1) if exclusive else values[:, 0])
    start = np.random.default_rng(1).normal(size=(81, 3))
    for ours in (fit_logistic(x, values, 0.1, exclusive), fit_logistic(x, values, 0.1, exclusive, start=start)):
        p = probabilities(x, ours, exclusive)
        expected = theirs.predict_proba(x)
        assert (p if exclusive else p[:, 0]) == pytest.approx(expected if exclusive else expected[:, 1], abs=1e-3)


def test_single_precision_and_a_sampled_preconditioner_change_nothing(monkeypatch: pytest.MonkeyPatch):
    x, values = clusters(1500, 20, 4, apart=0.3)
    exact = probabilities(x, fit_logistic(x, values, 1.0, True), True)
    monkeypatch.setattr(logistic, "SMALL", 0)
    monkeypatch.setattr(logistic, "SAMPLED", 100)
    monkeypatch.setattr(logistic, "WORTH", 0)
    assert probabilities(x, fit_logistic(x, values, 1.0, True), True) == pytest.approx(exact, abs=1e-3)


def test_separable_classes_and_weak_penalties_end():
    x, values = clusters(200, 6, 3, apart=20.0)
    p = probabilities(x, fit_logistic(x, values, 1e6, True), True)
    assert (p.argmax(1) == values.argmax(1)).all()
    assert np.isfinite(p).all()


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
def test_a_collapsed_encoder_and_a_single_class_have_a_probe(exclusive: bool, balanced: bool):
    x, values = clusters(40, 6, 2)
    one, nobody = np.ones((40, 1)), np.zeros((40, 1))
    for features, labels in (
        (np.zeros((40, 6)), values),
        (np.zeros((4, 6)), values[:4]),
        (x, one),
        (x, np.hstack([one, nobody])),
        (x[:1], values[:1]),
    ):
        assert np.isfinite(fit_logistic(features, labels, 1.0, exclusive, balanced)).all()
