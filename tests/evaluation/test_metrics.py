from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from anyjepa.evaluation.metrics import (
    Scored,
    accuracy,
    all_metrics,
    auprc,
    auroc,
    balanced_accuracy,
    bootstrap,
    estimate,
    macro,
    paired_difference,
    percentiles,
)


def random_case(seed: int, records: int = 40, classes: int = 3):
    rng = np.random.default_rng(seed)
    values = (rng.random((records, classes)) < 0.4).astype(np.float32)
    values[0], values[1] = 0, 1
    return values, rng.integers(0, 12, (records, classes)) / 4.0  # many ties


def test_auroc_by_hand():
    values = np.array([[1], [0], [1], [0]])
    assert auroc(values, np.array([[0.9], [0.8], [0.8], [0.1]])).tolist() == [0.875]  # pairs: 1, 1, 1/2, 1


def test_auprc_by_hand():
    values = np.array([[1], [0], [1], [0]])
    assert auprc(values, np.array([[4.0], [3.0], [2.0], [1.0]])).tolist() == pytest.approx([(1 + 2 / 3) / 2])


@given(seed=integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_areas_equal_scikit_learn(seed):
    values, scores = random_case(seed)
    assert auroc(values, scores) == pytest.approx(roc_auc_score(values, scores, average=None))
    assert auprc(values, scores) == pytest.approx(average_precision_score(values, scores, average=None))


@given(seed=integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_weights_equal_repeated_records(seed):
    values, scores = random_case(seed)
    times = np.random.default_rng(seed).integers(1, 4, len(values))
    repeated = auroc(np.repeat(values, times, 0), np.repeat(scores, times, 0))
    weighted = auroc(values, scores, weights=np.stack([times, np.ones_like(times)]).astype(float))
    assert weighted[0] == pytest.approx(repeated)
    assert weighted[1] == pytest.approx(auroc(values, scores))


def test_a_class_without_positives_or_negatives_has_no_number():
    values = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.arange(9.0).reshape(3, 3)
    areas = auroc(values, scores)
    assert np.isnan(areas).tolist() == [False, True, True]
    assert macro(areas) == areas[0]
    assert np.isnan(auprc(values, scores)).tolist() == [False, True, False]
    assert np.isnan(all_metrics(values[:, 1:], scores[:, 1:], exclusive=False)["macro_auroc"])


def test_accuracies():
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    values, scores = np.eye(4)[labels], np.eye(4)[predicted]
    assert accuracy(values, scores) == pytest.approx(3 / 5)
    assert balanced_accuracy(values, scores) == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert set(all_metrics(values, scores, True)) == {"macro_auroc", "macro_auprc", "accuracy", "balanced_accuracy"}
    assert set(all_metrics(values, scores, False)) == {"macro_auroc", "macro_auprc"}


def test_t_interval_by_hand():
    found = estimate([0.7, 0.8, 0.9])
    half = 4.302653 * 0.1 / np.sqrt(3)  # t(.975, 2 degrees of freedom)
    assert (found.mean, found.low, found.high, found.repeats) == pytest.approx((0.8, 0.8 - half, 0.8 + half, 3))
    wider = estimate([0.7, 0.8, 0.9], overlap=0.25)
    assert estimate([0.7, 1.0], limits=(0, 1)).high == 1
    assert wider.high - wider.mean == pytest.approx(4.302653 * 0.1 * np.sqrt(1 / 3 + 0.25))


def test_repeats_without_a_number_are_left_out():
    assert estimate([0.5, float("nan")]).low is None
    assert estimate([float("nan")]).mean is None
    assert estimate([]).repeats == 0


def test_paired_difference_cancels_what_repeats_share():
    folds = np.array([0.5, 0.7, 0.9])
    found = paired_difference(folds + 0.02, folds)
    assert (found.mean, found.low, found.high) == pytest.approx((0.02, 0.02, 0.02))


def test_bootstrap_over_groups():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    scores = labels + rng.normal(size=200)
    own = Scored(labels[:, None], scores[:, None], np.arange(200).astype(str))
    low, high = percentiles(bootstrap([own], 400))
    area = auroc(own.values, own.scores)[0]
    standard_error = np.sqrt(area * (1 - area) / 100)  # rough size (Hanley and McNeil)
    assert low < area < high
    assert 1.5 * standard_error < high - low < 5 * standard_error
    # ten records of each patient carry the information of one: the interval must not shrink
    repeated = Scored(np.repeat(own.values, 10, 0), np.repeat(own.scores, 10, 0), np.repeat(own.groups, 10))
    assert percentiles(bootstrap([repeated], 400)) == pytest.approx((low, high))
    assert percentiles(bootstrap([own, own], 400)) == pytest.approx((low, high))


def test_bootstrap_of_a_difference_is_paired_by_patient():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    groups = np.array([f"p{i // 2}" for i in range(200)])
    noise = rng.normal(size=200)

    def scored(scores: np.ndarray) -> Scored:
        return Scored(labels[:, None], scores[:, None], groups)

    worse, better = scored(labels + 2 * noise), scored(labels + 2 * noise + 0.5 * (labels - 0.5))
    first, second = bootstrap([better], 400), bootstrap([worse], 400)
    assert percentiles(first - first) == (0, 0)
    low, high = percentiles(first - second)
    assert 0 < low < auroc(better.values, better.scores)[0] - auroc(worse.values, worse.scores)[0] < high
    assert percentiles(second - first) == pytest.approx((-high, -low))
    independent = percentiles(first - bootstrap([worse], 400, seed=1))
    assert independent[0] < 0  # the same gain is lost in what patients share
    assert high - low < 0.3 * (independent[1] - independent[0])


def test_bootstrap_of_a_difference_by_hand():
    """Four patients; the control has one pair in the wrong order, so a resample gains if it holds both of that pair."""
    values, groups = np.array([[1], [1], [0], [0]]), np.array(list("abcd"))
    right, wrong = np.array([[4.0], [3.0], [2.0], [1.0]]), np.array([[4.0], [2.0], [3.0], [1.0]])
    gains = bootstrap([Scored(values, right, groups)], 2000) - bootstrap([Scored(values, wrong, groups)], 2000)
    known = gains[np.isfinite(gains)]
    # by hand over the 4^4 draws: counts (a, b, c, d) gain b c / ((a + b) (c + d)), none without both labels
    draws = np.stack([(np.indices((4,) * 4).reshape(4, -1) == who).sum(0) for who in range(4)])
    a, b, c, d = draws[:, ((draws[0] + draws[1]) % 4 > 0)]
    exact = b * c / ((a + b) * (c + d))
    assert set(np.round(known, 6)) == set(np.round(exact, 6))
    assert known.mean() == pytest.approx(exact.mean(), abs=0.03)
    assert percentiles(gains) == (0, 1)


def test_bootstrap_of_degenerate_tests():
    zeros = Scored(np.zeros((4, 1)), np.arange(4.0)[:, None], np.array(list("abcd")))
    assert percentiles(bootstrap([zeros], 10)) is None
    assert percentiles(bootstrap([Scored(np.eye(2), np.eye(2), np.array(["a", "a"]))], 10)) is None
    assert percentiles(bootstrap([Scored(np.eye(2), np.eye(2), np.array(["a", "b"]))], 0)) is None
