"""The records that pretraining leaves for testing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.dataset import ArrayDataset
from anyjepa.errors import InputError
from anyjepa.evaluation.hold_out import hold_out, hold_out_of


@given(st.permutations([*range(20), *range(20), *range(5)]), st.floats(0.1, 0.5), st.integers(0, 9))
def test_groups_stay_whole_and_the_share_is_kept(groups, share, seed):
    names = [f"p{group}" for group in groups]
    ids = [str(place) for place in range(len(names))]
    split = hold_out(ids, names, np.zeros((len(ids), 0)), share, seed)  # a group in two parts raises
    largest = max(map(names.count, names))
    assert abs((split.split or ()).count("test") - share * len(ids)) <= largest
    assert hold_out(ids, names, np.zeros((len(ids), 0)), share, seed).split == split.split


def test_every_class_has_its_share():
    classes = np.repeat([0, 1, 2], [100, 50, 20])
    ids = [str(place) for place in range(170)]
    split = hold_out(ids, ids, np.eye(3)[classes], 0.2, 0)
    tested = classes[np.array(split.split) == "test"]
    assert np.bincount(tested).tolist() == [20, 10, 4]
    assert split.split != hold_out(ids, ids, np.eye(3)[classes], 0.2, 1).split


@pytest.mark.parametrize("share", [0, 1, -0.1, 20])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="must be between 0 and 1, such as"):
        hold_out(["a", "b"], ["a", "b"], np.zeros((2, 0)), share, 0)


def test_one_patient_cannot_be_split():
    with pytest.raises(InputError, match="1 groups cannot be split"):
        hold_out(["a", "b"], ["p", "p"], np.zeros((2, 0)), 0.2, 0)


def test_data_with_a_split_of_their_own_are_refused():
    values = np.zeros((4, 1, 8))
    own = ArrayDataset.of(values, None, labels=list("abab"), split=["train", "train", "test", "test"])
    with pytest.raises(InputError, match="the data have a split already"):
        hold_out_of(own, 0.5, 0)
    assert sorted(hold_out_of(ArrayDataset.of(values, None, labels=list("abab")), 0.5, 0).split or ()) == [
        "test", "test", "train", "train",
    ]  # fmt: skip
