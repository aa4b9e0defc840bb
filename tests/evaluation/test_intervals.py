from __future__ import annotations

import numpy as np
import pytest

from anyjepa.evaluation.intervals import bootstrap, estimate, paired_difference, percentiles
from anyjepa.evaluation.metrics import Scored, auroc


def scored(values: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Scored:
    return Scored(values, scores, groups, scores > 0.5)


def areas_of(tests: list[Scored], resamples: int, seed: int = 0) -> np.ndarray:
    """(R,) resampled macro AUROC."""
    return bootstrap(tests, resamples, seed).overall.get("macro_auroc", np.empty(0))


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
    own = scored(labels[:, None], scores[:, None], np.arange(200).astype(str))
    low, high = percentiles(areas_of([own], 400))
    area = auroc(own.values, own.scores)[0]
    standard_error = np.sqrt(area * (1 - area) / 100)  # rough size (Hanley and McNeil)
    assert low < area < high
    assert 1.5 * standard_error < high - low < 5 * standard_error
    # ten records of each patient carry the information of one: the interval must not shrink
    repeated = scored(np.repeat(own.values, 10, 0), np.repeat(own.scores, 10, 0), np.repeat(own.groups, 10))
    assert percentiles(areas_of([repeated], 400)) == pytest.approx((low, high))
    assert percentiles(areas_of([own, own], 400)) == pytest.approx((low, high))


def test_bootstrap_of_a_difference_is_paired_by_patient():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    groups = np.array([f"p{i // 2}" for i in range(200)])
    noise = rng.normal(size=200)

    worse, better = (
        scored(labels[:, None], (labels + 2 * noise + more * (labels - 0.5))[:, None], groups) for more in (0, 0.5)
    )
    first, second = areas_of([better], 400), areas_of([worse], 400)
    assert percentiles(first - first) == (0, 0)
    low, high = percentiles(first - second)
    assert 0 < low < auroc(better.values, better.scores)[0] - auroc(worse.values, worse.scores)[0] < high
    assert percentiles(second - first) == pytest.approx((-high, -low))
    independent = percentiles(first - areas_of([worse], 400, seed=1))
    assert independent[0] < 0  # the same gain is lost in what patients share
    assert high - low < 0.3 * (independent[1] - independent[0])


def test_bootstrap_of_a_difference_by_hand():
    """Four patients; the control has one pair in the wrong order, so a resample gains if it holds both of that pair."""
    values, groups = np.array([[1], [1], [0], [0]]), np.array(list("abcd"))
    right, wrong = np.array([[4.0], [3.0], [2.0], [1.0]]), np.array([[4.0], [2.0], [3.0], [1.0]])
    gains = areas_of([scored(values, right, groups)], 2000) - areas_of([scored(values, wrong, groups)], 2000)
    known = gains[np.isfinite(gains)]
    # by hand over the 4^4 draws: counts (a, b, c, d) gain b c / ((a + b) (c + d)), none without both labels
    draws = np.stack([(np.indices((4,) * 4).reshape(4, -1) == who).sum(0) for who in range(4)])
    a, b, c, d = draws[:, ((draws[0] + draws[1]) % 4 > 0)]
    exact = b * c / ((a + b) * (c + d))
    assert set(np.round(known, 6)) == set(np.round(exact, 6))
    assert known.mean() == pytest.approx(exact.mean(), abs=0.03)
    assert percentiles(gains) == (0, 1)


def test_bootstrap_of_degenerate_tests():
    zeros = scored(np.zeros((4, 1)), np.arange(4.0)[:, None], np.array(list("abcd")))
    assert percentiles(areas_of([zeros], 10)) is None
    assert percentiles(areas_of([scored(np.eye(2), np.eye(2), np.array(["a", "a"]))], 10)) is None
    assert percentiles(areas_of([scored(np.eye(2), np.eye(2), np.array(["a", "b"]))], 0)) is None


def test_every_metric_has_resamples_overall_and_of_each_class():
    rng = np.random.default_rng(0)
    values, scores = (rng.random((60, 2)) < 0.5).astype(float), rng.random((60, 2))
    test = scored(values, scores, np.array([f"p{i // 2}" for i in range(60)]))
    found, (overall, classes) = bootstrap([test], 300), test.measure()
    for name, value in overall.items():
        low, high = percentiles(found.overall[name])
        assert low < value[0] < high, name
    for name, values in classes.items():
        assert found.classes[name].shape == (300, 2)
        assert name == "ece" or percentiles(found.classes[name][:, 1])[0] < values[0, 1]  # a resample's ECE is larger


def test_the_interval_of_what_never_varies_holds_the_point():
    values = np.tile([[1.0], [0.0]], (10, 1))
    test = scored(values, values, np.arange(20).astype(str))
    overall, found = test.measure()[0], bootstrap([test], 100).overall
    for name in ("macro_auroc", "macro_auprc", "macro_f1", "macro_ece", "macro_brier"):
        assert percentiles(found[name]) == (overall[name][0],) * 2
