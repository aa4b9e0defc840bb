"""The typicality of a record is a p-value, whatever the embeddings are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.evaluation.novelty import distances, fit_whitening, typicality


@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, 7.0]), min_size=2, max_size=60).map(np.array), st.floats(0, 1))
def test_at_most_a_share_a_of_exchangeable_records_has_a_typicality_of_a(found, share):
    values = [typicality(found[[place]], np.delete(found, place))[0] for place in range(len(found))]
    assert np.sum(np.array(values) <= share) <= share * len(found) + 1e-9
    assert min(values) >= 1 / len(found)


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.integers(2, 80), st.integers(1, 12), st.integers(0, 1000))
def test_distances_are_finite_and_do_not_depend_on_the_scale_of_a_dimension(records, dim, seed):
    rng = np.random.default_rng(seed)
    x, scale = rng.normal(size=(records, dim)), 10.0 ** rng.integers(-3, 4, dim)
    x[:, 0] = 3.0  # constant
    found, scaled = (distances(v, *fit_whitening(v)) for v in (x, x * scale))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, scaled, rtol=1e-6, atol=1e-9)


def test_with_many_records_the_distance_is_that_of_a_normal_distribution():
    x = np.random.default_rng(0).normal(size=(20_000, 4)) @ np.diag([1, 2, 3, 4]) + 5
    found = distances(x, *fit_whitening(x))
    assert np.mean(found**2) == pytest.approx(4, rel=0.02)


def test_what_is_far_away_is_not_typical():
    rng = np.random.default_rng(0)
    train, validation = rng.normal(size=(200, 5)), rng.normal(size=(99, 5))
    fitted = fit_whitening(train)
    of_validation = distances(validation, *fitted)
    assert typicality(distances(np.full((1, 5), 9.0), *fitted), of_validation) == [0.01]
    assert typicality(distances(train.mean(0)[None], *fitted), of_validation) == [1.0]
