from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.perturbation.scoring.metrics import (
    coverage,
    discrimination,
    distance,
    pearson,
    pearson_vs_mean,
    r2,
    top_error,
)

NOTHING = np.full((1, 3), np.nan)
seeds = st.integers(0, 2**32 - 1)


def changes(seed: int, conditions: int = 4, genes: int = 30) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(seed)
    return r.normal(size=(conditions, genes)), r.normal(size=(conditions, genes))


def test_pearson_by_hand():
    true = np.array([[1.0, 2.0, 3.0]])
    assert pearson(np.array([[2.0, 4.0, 6.0]]), true) == pytest.approx([1])
    assert pearson(np.array([[0.0, 0.0, 1.0]]), true) == pytest.approx([np.sqrt(3) / 2])
    assert pearson(np.array([[5.0, 5.0, 5.0]]), true) == pytest.approx([0])  # flat: says nothing
    assert np.isnan(pearson(true, np.zeros((1, 3))))  # no effect: nothing to say
    assert np.isnan(pearson(NOTHING, true))


def test_rounding_is_no_prediction():
    mean, true = np.random.default_rng(0).normal(1, 1, (2, 1, 50))
    predicted = ((mean + 4).astype(np.float32) - np.float32(4)).astype(float)  # the perturbed mean, through float32
    assert pearson_vs_mean(predicted, true, mean[0]) == pytest.approx([0])


def test_pearson_against_the_perturbed_mean_by_hand():
    mean = np.array([10.0, 0.0, 0.0])
    own = np.array([[1.0, 0.0, -1.0]])
    true, predicted = mean + own, mean - own
    assert pearson(predicted, true)[0] > 0.9
    assert pearson_vs_mean(predicted, true, mean) == pytest.approx([-1])


def test_top_error_by_hand():
    true = np.array([[3.0, -4.0, 0.1]])
    assert top_error(np.zeros((1, 3)), true, 2) == pytest.approx([1])
    assert top_error(np.array([[0.0, -4.0, 9.0]]), true, 2) == pytest.approx([9 / 25])  # not the third
    assert top_error(np.array([[0.0, -4.0, 0.1]]), true) == pytest.approx([9 / 25.01])  # fewer than 20 genes: all
    assert np.isnan(top_error(true, np.zeros((1, 3))))
    assert np.isnan(top_error(NOTHING, true))


def test_discrimination_by_hand():
    true = np.array([[0.0], [1.0], [3.0]])
    # nearest truths first: of .1 its own; of .1 the own second; of .9 the own last
    assert discrimination(np.array([[0.1], [0.1], [0.9]]), true) == pytest.approx([1, 0.5, 0])
    assert discrimination(np.array([[0.5], [0.0], [3.0]]), true) == pytest.approx([0.75, 0.5, 1])  # a tie counts half
    assert discrimination(np.full((3, 1), 7.0), true) == pytest.approx([0.5, 0.5, 0.5])  # equal predictions
    assert discrimination(np.array([[np.nan], [0.9], [3.0]]), true) == pytest.approx([np.nan, 1, 1], nan_ok=True)
    assert np.isnan(discrimination(true[:1], true[:1]))  # one condition: nothing to tell apart


def test_distance_and_r2_by_hand():
    true = np.array([[1.0, 2.0, 3.0]])
    assert distance(np.array([[1.0, 5.0, 7.0]]), true) == pytest.approx([5])
    assert r2(np.array([[1.0, 2.0, 2.0]]), true) == pytest.approx([0.5])
    assert r2(np.full((1, 3), 2.0), true) == pytest.approx([0])
    assert np.isnan(r2(true, np.ones((1, 3))))


def test_coverage_by_hand():
    true, low, high = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[1.0, 0, 4, 0]]), np.array([[2.0, 1, 5, 4]])
    assert coverage(low, high, true) == pytest.approx([0.5])
    assert np.isnan(coverage(np.where(low == 4, np.nan, low), high, true))


@given(seed=seeds)
@settings(deadline=None, max_examples=30)
def test_the_truth_is_perfect_and_nothing_is_the_unit(seed):
    _, true = changes(seed)
    none = np.zeros(true.shape)
    for metric, best, zero in ((pearson, 1, 0), (top_error, 0, 1), (discrimination, 1, 0.5)):
        np.testing.assert_allclose(metric(true, true), best, atol=1e-12)
        np.testing.assert_allclose(metric(none, true), zero)
    np.testing.assert_allclose(r2(true, true), 1)
    np.testing.assert_allclose(distance(none, true), np.linalg.norm(true, axis=1))


@given(seed=seeds, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
@settings(deadline=None, max_examples=30)
def test_what_changes_nothing(seed, shift, scale):
    predicted, true = changes(seed)
    common = np.random.default_rng(seed + 1).normal(size=30)
    np.testing.assert_allclose(pearson(scale * predicted + shift, true), pearson(predicted, true), atol=1e-9)
    for metric in (distance, discrimination):  # what is added to all conditions, predicted and true
        np.testing.assert_allclose(metric(predicted + common, true + common), metric(predicted, true), atol=1e-9)
    moved = pearson_vs_mean(predicted + common, true + common, common)
    np.testing.assert_allclose(moved, pearson(predicted, true), atol=1e-9)
    for metric in (pearson, top_error, discrimination, r2):  # units
        np.testing.assert_allclose(metric(scale * predicted, scale * true), metric(predicted, true), atol=1e-9)
    order = np.random.default_rng(seed).permutation(30)
    for metric in (pearson, top_error, discrimination, r2, distance):  # the order of genes
        np.testing.assert_allclose(metric(predicted[:, order], true[:, order]), metric(predicted, true), atol=1e-9)


@given(seed=seeds, conditions=st.integers(2, 12))
@settings(deadline=None, max_examples=30)
def test_discrimination_of_noise_is_chance_on_the_mean_of_all_assignments(seed, conditions):
    """Ranks of every truth for one prediction are 0 to T - 1, whatever the prediction."""
    predicted, true = changes(seed, conditions)
    shifts = [discrimination(np.roll(predicted, by, 0), true) for by in range(conditions)]
    assert np.mean(shifts) == pytest.approx(0.5)
