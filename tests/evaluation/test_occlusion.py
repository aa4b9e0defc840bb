"""Parts of a record, records without them, and log-odds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.data.samples import lengths
from anyjepa.evaluation.occlusion import Grid, OccludedSamples, log_odds, place_width


@given(
    channels=st.integers(1, 3),
    size=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    width=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_the_places_cover_each_sample_once(channels: int, size: list[int], width: int) -> None:
    grid = Grid.of((channels, *size), [width] * len(size))
    times = np.zeros((channels, *size), int)
    for part in grid:
        times[part.index] += 1
    assert len(list(grid)) == len(grid)
    assert (times == (3 if channels > 1 and len(size) == 1 else 1)).all()  # together, apart, and whole channels


def test_a_hidden_part_has_the_neutral_value_of_its_channel_and_nothing_else_changes() -> None:
    record = np.arange(12, dtype=np.float32).reshape(2, 6)
    hidden = OccludedSamples(record, Grid.of((2, 6), [4]), np.array([-1, -2], np.float32))
    assert len(hidden) == 1 + 2 + 4 + 2
    assert hidden[0] is record
    np.testing.assert_array_equal(hidden[2], [[0, 1, 2, 3, -1, -1], [6, 7, 8, 9, -2, -2]])  # all channels, the rest
    np.testing.assert_array_equal(hidden[5], [[0, 1, 2, 3, 4, 5], [-2, -2, -2, -2, 10, 11]])
    np.testing.assert_array_equal(hidden[7], [[-1] * 6, [6, 7, 8, 9, 10, 11]])


def test_effects_are_put_back_where_their_parts_are() -> None:
    grid = Grid.of((2, 6), [4])
    effects = np.array([1, 2, 11, 12, 21, 22, 100, 200.0])
    assert grid.together(effects).tolist() == [1, 2]
    assert grid.by_channel(effects).tolist() == [[11, 12], [21, 22]]
    image = Grid.of((3, 4, 6), [2, 3])
    assert image.by_channel(np.arange(4.0)).tolist() == [[[0, 1], [2, 3]]]


def test_lengths_are_known_without_reading_the_records() -> None:
    class Unread(OccludedSamples):
        def __getitem__(self, index: int) -> np.ndarray:
            raise AssertionError(index)

    assert lengths(Unread(np.zeros((2, 6)), Grid.of((2, 6), [4]), np.zeros(2))).tolist() == [6] * 9


@pytest.mark.parametrize(
    ("size", "patch", "tokens", "width"),
    [
        ((5000,), (25,), None, (100,)),  # 200 tokens of 50 ms: 50 places of 0.2 s
        ((1000,), (10,), None, (20,)),
        ((1000,), (10,), 1, (10,)),
        ((224, 224), (16, 16), None, (16, 16)),
        ((8, 64, 64), (2, 8, 8), 2, (4, 16, 16)),
    ],
)
def test_a_full_input_has_at_most_64_places_along_each_axis(size, patch, tokens, width) -> None:
    assert place_width(size, patch, tokens) == width


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(log_odds(logits, True), np.log(p / (1 - p)), atol=1e-5)
    np.testing.assert_array_equal(log_odds(logits, False), logits)
    assert np.isfinite(log_odds(np.array([[1000.0, 0.0]]), True)).all()
