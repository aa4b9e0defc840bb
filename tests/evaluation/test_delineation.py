"""Onsets and offsets in sequences of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyjepa.evaluation.delineation import compare, scores, spans

TIMES = st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True).map(lambda x: np.sort(x) * 0.01)


@given(labels=arrays(np.int8, st.integers(0, 60), elements=st.integers(-1, 3)))
def test_runs_are_maximal_and_cover_the_class(labels):
    covered = np.zeros(len(labels), bool)
    for first, end in spans(labels, 2):
        assert (labels[first:end] == 2).all()
        assert first == 0 or labels[first - 1] != 2
        assert end == len(labels) or labels[end] != 2
        covered[first:end] = True
    assert (covered == (labels == 2)).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("..XX.XX..", [[2, 7]]), ("..XX..XX..", [[2, 4], [6, 8]]), ("X...XX..", [[4, 6]]), ("X.X", [[0, 3]]), ("", [])],
)
def test_short_gaps_are_bridged_before_short_runs_are_dropped(text, expected):
    labels = np.array([character == "X" for character in text], int)
    assert spans(labels, 1, shortest=2).tolist() == expected


@given(times=TIMES, shift=st.integers(-15, 15))
def test_points_that_all_move_alike_have_that_error(times, shift):
    far = times[np.r_[True, np.diff(times) > 0.31]]
    found = scores([compare(far, far + shift * 0.01, np.ones(len(far), bool))])
    assert found["error_ms"] == pytest.approx(shift * 10)
    assert found["sd_ms"] == pytest.approx(0, abs=1e-6)
    assert found["sensitivity"] == found["ppv"] == 1


@given(true=TIMES, predicted=TIMES)
def test_every_point_is_matched_at_most_once(true, predicted):
    compared = compare(true, predicted, np.ones(len(predicted), bool))
    assert len(compared.errors) + compared.missed == len(true)
    assert len(compared.errors) + compared.false == len(predicted)
    assert (np.abs(compared.errors) <= 0.15 + 1e-9).all()


def test_predictions_where_nothing_is_annotated_are_not_false():
    compared = compare(np.array([1.0]), np.array([0.2, 1.05, 3.0]), np.array([False, True, True]))
    assert (len(compared.errors), compared.missed, compared.false) == (1, 0, 1)


def test_nothing_at_all_has_no_score():
    empty = np.empty(0)
    assert np.isnan(list(scores([compare(empty, empty, np.empty(0, bool))]).values())).all()
    assert scores([compare(np.array([1.0]), empty, np.empty(0, bool))])["sensitivity"] == 0
