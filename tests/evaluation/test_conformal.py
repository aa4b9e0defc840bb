"""Prediction sets exclude the truth at most as often as promised, for any classifier and any records."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.evaluation.conformal import prediction_sets, too_few, true_scores


@st.composite
def bags(draw):
    """Probabilities with many ties, and one class per record, some of them rare."""
    records, classes = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.choice(np.float32([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), (records, classes))
    names = rng.integers(0, rng.integers(1, classes + 1, records))  # the last classes are rare
    return p, names, draw(st.sampled_from([0.5, 0.8, 0.9, 0.95]))


def excluded(p: np.ndarray, truth: np.ndarray, exclusive: bool, coverage: float) -> np.ndarray:
    """For each record and answer, whether it is true but excluded after calibration on all other records."""
    wrong = []
    for place in range(len(p)):
        others = np.delete(np.arange(len(p)), place)
        scores = true_scores(p[others], truth[others], exclusive)
        sets = prediction_sets(scores, p[[place]], exclusive, coverage)[0]
        true = np.greater(truth[place], 0)
        wrong.append(~sets & (true if exclusive else np.stack([~true, true], 1).ravel()))
    return np.array(wrong)


@given(bag=bags())
def test_of_exchangeable_records_the_truth_is_covered_in_every_class(bag):
    p, names, coverage = bag
    truth = np.eye(p.shape[1])[names]
    wrong, error = excluded(p, truth, True, coverage).any(1), round(1 - coverage, 9)
    counts = np.bincount(names, minlength=p.shape[1])
    rare = [c for c in range(p.shape[1]) if counts[c] * error < 1]
    for group in [rare, *([c] for c in range(p.shape[1]) if c not in rare)]:
        member = np.isin(names, group)
        assert wrong[member].sum() <= error * member.sum() + 1e-9


@given(bag=bags())
def test_no_and_yes_are_covered_in_every_class_that_is_not_exclusive(bag):
    p, names, coverage = bag
    truth = np.stack([names > c for c in range(p.shape[1])], 1).astype(float)
    wrong, error = excluded(p, truth, False, coverage), round(1 - coverage, 9)
    for place in range(p.shape[1]):
        of_no, of_yes = wrong[:, 2 * place], wrong[:, 2 * place + 1]
        counts = np.array([(truth[:, place] == 0).sum(), (truth[:, place] == 1).sum()])
        if (counts * error < 1).all():
            assert (of_no | of_yes).sum() <= error * len(p) + 1e-9
        else:
            assert of_no.sum() <= error * counts[0] + 1e-9
            assert of_yes.sum() <= error * counts[1] + 1e-9


def test_it_excludes_what_no_calibration_record_resembles():
    scores = [np.linspace(0, 0.3, 20), np.linspace(0, 0.3, 20)]
    p = np.array([[0.95, 0.05], [0.5, 0.5], [0.75, 0.75]], np.float32)
    assert prediction_sets(scores, p, True, 0.9).tolist() == [[True, False], [False, False], [True, True]]
    assert too_few(scores, True, 0.9) == []


@given(st.integers(0, 2**32 - 1))
def test_a_higher_coverage_never_has_smaller_sets(seed):
    rng = np.random.default_rng(seed)
    scores = [np.sort(rng.random(rng.integers(19, 40))) for _ in range(3)]  # enough for 0.95
    p = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    sets = [prediction_sets(scores, p, True, coverage) for coverage in (0.5, 0.8, 0.9, 0.95)]
    assert all((smaller <= larger).all() for smaller, larger in pairwise(sets))


@pytest.mark.parametrize("records", [0, 1, 8])
def test_fewer_than_nine_records_never_exclude_an_answer_at_90_percent(records):
    scores = [np.zeros(records), np.linspace(0, 0.2, 30)]
    p = np.array([[0.0, 1.0]], np.float32)
    assert prediction_sets(scores, p, True, 0.9).tolist() == [[True, True]]
    assert too_few(scores, True, 0.9) == [0]
    assert prediction_sets([np.zeros(9), scores[1]], p, True, 0.9).tolist() == [[False, True]]
    assert too_few([np.zeros(9), scores[1]], True, 0.9) == []


def test_rare_classes_are_calibrated_together():
    scores = [np.zeros(5), np.zeros(5), np.zeros(30)]
    p = np.array([[0.2, 0.9, 0.9]], np.float32)
    assert too_few(scores, True, 0.9) == []
    assert prediction_sets(scores, p, True, 0.9).tolist() == [[False, False, False]]


def test_a_single_class_is_always_in_the_set():
    scores = true_scores(np.ones((30, 1), np.float32), np.ones((30, 1)), True)
    assert prediction_sets(scores, np.ones((2, 1), np.float32), True, 0.9).tolist() == [[True], [True]]


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, float("nan")])
def test_coverage_is_a_share(coverage):
    with pytest.raises(InputError, match=r"must be between 0 and 1, such as 0\.9"):
        prediction_sets([np.zeros(9)], np.ones((1, 1), np.float32), True, coverage)
