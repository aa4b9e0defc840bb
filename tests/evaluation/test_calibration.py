from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from torchmetrics.functional.classification import binary_calibration_error

from anyjepa.evaluation.calibration import BINS, bins, brier, calibration_error, reliability
from anyjepa.evaluation.metrics import once

probabilities = arrays(np.float64, 20, elements=floats(0, 1))
labels = integers(0, 2**20 - 1)
LAWS = settings(deadline=None, max_examples=60)
ONCE = once(20)


def bits(number: int) -> np.ndarray:
    return (number >> np.arange(20)) & 1


@given(score=probabilities, number=labels)
@LAWS
def test_errors_lie_in_0_to_1_and_calibration_never_costs_more_than_all(score, number):
    value = bits(number)[:, None]
    ece, score_of_brier = calibration_error(value, score[:, None], *ONCE), brier(value, score[:, None], *ONCE)
    assert 0 <= ece <= 1
    assert 0 <= score_of_brier <= 1
    assert ece**2 <= score_of_brier + 1e-12  # Jensen, bin by bin


@given(number=labels, seed=integers(0, 1000))
@LAWS
def test_ece_equals_torchmetrics(number, seed):
    score = np.random.default_rng(seed).random(20)  # off the edges, which torchmetrics gives to the bin below
    expected = binary_calibration_error(torch.as_tensor(score), torch.as_tensor(bits(number)), n_bins=BINS, norm="l1")
    assert calibration_error(bits(number)[:, None], score[:, None], *ONCE)[0, 0] == pytest.approx(float(expected))


@given(places=arrays(int, 20, elements=integers(0, BINS - 1)), number=labels)
@LAWS
def test_the_curve_decomposes_the_brier_score(places, number):
    """Reliability - resolution + uncertainty (Murphy 1973), exact where the forecasts of a bin are equal."""
    value, score = bits(number), (places + 0.5) / BINS
    curve = reliability(value, score)
    used = [place for place, count in enumerate(curve.counts) if count]
    share, forecast, observed = (
        np.array([column[place] for place in used], float)
        for column in (np.array(curve.counts) / 20, curve.forecast, curve.observed)
    )
    rate = value.mean()
    parts = share @ (forecast - observed) ** 2 - share @ (observed - rate) ** 2 + rate * (1 - rate)
    assert brier(value[:, None], score[:, None], *ONCE)[0, 0] == pytest.approx(parts, abs=1e-12)
    assert calibration_error(value[:, None], score[:, None], *ONCE)[0, 0] == pytest.approx(
        share @ np.abs(forecast - observed)
    )


def test_the_curve_by_hand():
    curve = reliability(np.array([[1, 0], [0, 1]]), np.array([[0.05, 0.03], [0.99, 1.0]]))
    assert (curve.counts[0], curve.counts[-1], sum(curve.counts)) == (2, 2, 4)
    assert (curve.forecast[0], curve.observed[0]) == (pytest.approx(0.04), 0.5)
    assert curve.forecast[1] is curve.observed[1] is None
    assert bins(np.array([0, 1, 1 / BINS])).tolist() == [0, BINS - 1, 1]
