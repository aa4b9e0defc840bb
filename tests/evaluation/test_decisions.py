from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from sklearn.metrics import f1_score

from anyjepa.evaluation.decisions import best_thresholds, decide

probabilities = arrays(np.float32, 12, elements=floats(0, 1, width=32))


@given(score=probabilities, labels=integers(1, 2**12 - 1))
@settings(deadline=None, max_examples=60)
def test_no_other_threshold_has_a_larger_f1_on_validation_data(score, labels):
    value = (labels >> np.arange(12)) & 1
    threshold = best_thresholds(value[:, None], score[:, None])
    reached = f1_score(value, decide(score[:, None], threshold)[:, 0])
    decided = score >= np.append(score, [0.0, 1.0])[:, None]  # (thresholds, records)
    others = 2 * (decided & (value == 1)).sum(1) / (decided.sum(1) + value.sum())
    assert reached == pytest.approx(others.max())
    assert 0 <= threshold[0] <= 1


def test_a_threshold_lies_between_probabilities():
    value, score = np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.3], [0.7], [0.9]])
    assert best_thresholds(value, score) == pytest.approx([0.5])
    assert best_thresholds(1 - value, 1 - score) == pytest.approx([0.5])
    assert best_thresholds(np.ones((4, 1)), score) == pytest.approx([0.05])


def test_without_positives_a_half_decides():
    thresholds = best_thresholds(np.array([[0, 1], [0, 0]]), np.array([[0.9, 0.2], [0.4, 0.1]]))
    assert np.isnan(thresholds).tolist() == [True, False]
    assert decide(np.array([[0.5, 0.1], [0.49, 0.16]]), thresholds).tolist() == [[True, False], [False, True]]


def test_of_exclusive_classes_the_most_probable_applies():
    assert decide(np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]), None).tolist() == [
        [False, True, False],
        [True, False, False],
    ]
