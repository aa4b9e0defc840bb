from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perturbed_effects import by_hand, drawn

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.baselines import (
    BASELINES,
    additive,
    coexpression,
    coexpression_ridge,
    feature_ridge,
    gene_ridge,
    matching_mean,
    no_change,
    perturbed_mean,
)
from anyjepa.perturbation.scoring.effects import Effects, Fit

SCREEN = by_hand(
    {"a": [1.0, 2.0, 0.0], "b": [0.0, 4.0, -2.0], "a+b": [9.0, 9.0, 9.0], "c": [7.0, 7.0, 7.0], "a+c": [8.0, 8.0, 8.0]},
    test={"a+b", "c", "a+c"},
)
NONE = [np.nan] * 3


def said(fit: Fit, effects: Effects = SCREEN) -> np.ndarray:
    test = effects.held_out
    return np.asarray(fit(effects.train)(test.perturbed, test.control))


def test_baselines_by_hand():
    np.testing.assert_allclose(said(no_change), np.zeros((3, 3)))
    np.testing.assert_allclose(said(perturbed_mean), [[0.5, 3, -1]] * 3)
    np.testing.assert_allclose(said(matching_mean), [[0.5, 3, -1], NONE, NONE])
    np.testing.assert_allclose(said(additive), [[1, 6, -2], NONE, NONE])
    np.testing.assert_allclose(said(BASELINES["0.7 x additive"]), [[0.7, 4.2, -1.4], NONE, NONE])


def test_single_effects_are_means_over_contexts():
    two = replace(SCREEN, perturbed=(*map(frozenset, ["a", "a"]), frozenset("ab"), frozenset("b"), frozenset("ac")))
    two = replace(two, test=np.array([False, False, True, False, True]))
    np.testing.assert_allclose(said(additive, two), [[7.5, 10, 6], NONE])


def test_gene_ridge_by_its_formula():
    """Written a second time: least squares with a penalty on both sides as one system for vec W."""
    effects = drawn(doubles=0)
    train = effects.train
    z = train.change.T
    b = z.mean(1, keepdims=True)
    left, values, _ = np.linalg.svd(z - b, full_matrices=False)
    g = (left * values)[:, :10]
    p = g[[train.genes.index(next(iter(one))) for one in train.perturbed]]
    system = np.kron(p.T @ p + 0.1 * np.eye(len(p.T)), g.T @ g + 0.1 * np.eye(len(g.T)))
    w = np.linalg.solve(system, (g.T @ (z - b) @ p).ravel(order="F")).reshape(len(g.T), -1, order="F")
    targets = [effects.genes.index(next(iter(one))) for one in effects.held_out.perturbed]
    np.testing.assert_allclose(said(gene_ridge, effects), (b + g @ w @ g[targets].T).T)


def test_feature_ridge_by_hand():
    features = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0]), "c": np.array([1.0, 0.0])}
    mean, half = np.array([0.5, 3, -1]), np.array([0.5, -1, 1])  # half the difference of a and b
    np.testing.assert_allclose(said(feature_ridge(features, ridge=1.0)), [NONE, mean + half / 2, NONE])
    almost = said(feature_ridge(features, ridge=1e-9))[1]
    np.testing.assert_allclose(almost, [1, 2, 0], atol=1e-6)  # c is like a
    two = np.linalg.norm(said(feature_ridge(features))[1] - mean)
    assert 0 <= two < np.linalg.norm(half)


def test_the_ridge_is_chosen_by_leaving_singles_out():
    effects = drawn(doubles=0, singles=20)
    r = np.random.default_rng(0)
    telling = {name: effects.change[i] for i, name in enumerate(effects.conditions)}
    noise = {name: r.normal(size=30) for name in effects.conditions}
    mean = effects.train.change.mean(0)
    close, far = (np.linalg.norm(said(feature_ridge(f), effects) - mean, axis=1) for f in (telling, noise))
    assert (far < 0.2 * close).all()  # features that say nothing are not believed


def test_ridges_on_a_gene_out_of_reach():
    unseen = replace(SCREEN, genes=("x", "y", "z"))
    assert np.isnan(said(gene_ridge, unseen)).all()  # no target in the panel
    assert np.isnan(said(gene_ridge)[[0, 2]]).all()  # combinations
    assert np.isnan(said(coexpression_ridge)).all()  # no control cells
    assert np.isnan(said(feature_ridge({"a": np.ones(2), "c": np.ones(2)}))).all()  # one training single
    assert np.isnan(said(feature_ridge({"a": np.ones(2), "b": np.zeros(2)}))).all()  # c has none


def test_wrong_features():
    with pytest.raises(InputError, match="differ in length"):
        feature_ridge({"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(InputError, match="features of gene 'b' are not finite"):
        feature_ridge({"a": np.ones(2), "b": np.array([1, np.nan])})


def test_coexpression_is_the_correlation_over_control_cells():
    controls = np.random.default_rng(0).normal(size=(50, 4))
    controls[:, 3] = 2.0
    found = np.stack(list(coexpression(controls, "abcd").values()))
    np.testing.assert_allclose(found[:3, :3], np.corrcoef(controls[:, :3].T))
    np.testing.assert_array_equal(found[3], 0)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=15)
def test_no_baseline_looks_at_the_test_conditions(seed):
    effects = drawn(doubles=3 * (seed % 2), seed=seed)
    other = replace(effects, mean=np.where(effects.test[:, None], 99.0, effects.mean))
    for fit in BASELINES.values():
        np.testing.assert_array_equal(said(fit, effects), said(fit, other))


def test_additive_is_exact_where_effects_add():
    effects = drawn()
    exact = replace(effects, mean=effects.mean.copy())
    for i in range(6):
        exact.mean[12 + i] = effects.control[0] + effects.change[i] + effects.change[i + 1]
    np.testing.assert_allclose(said(additive, exact), exact.held_out.change)
