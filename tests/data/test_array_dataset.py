"""Prepared arrays keep what the caller says of them: masked values, unknown groups and float ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyjepa.data.dataset import ArrayDataset
from anyjepa.data.records import Records
from anyjepa.errors import InputError

VALUES = np.arange(12, dtype=np.float32).reshape(3, 1, 4)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""])
def test_records_of_unknown_groups_are_groups_of_their_own(missing: Any) -> None:
    data = ArrayDataset.of(VALUES, None, ids=["a", "b", "c"], groups=[missing, "p", missing])
    assert (data.groups, data.groups_known) == (("a", "p", "c"), False)


def test_a_record_of_unknown_group_is_not_in_the_group_that_has_its_id() -> None:
    data = ArrayDataset.of(VALUES, None, labels=list("aba"), groups=[1, None, None], split=["train", "test", "test"])
    assert data.groups == data.tables["class"].groups == ("1", "arrays/1", "2")
    records = Records.of(list(VALUES), groups=[1, None, None])
    assert records.grouped(ArrayDataset.of(VALUES, None)).groups == ("1", "arrays/1", "2")


def test_names_match_those_of_a_table() -> None:
    data = ArrayDataset.of(VALUES, None, ids=pd.Series([7, 8, 9], index=[2, 1, 0]), groups=[1.0, 1.0, 2.0])
    assert (data.ids, data.groups, data.groups_known) == (("7", "8", "9"), ("1", "1", "2"), True)


def test_values_under_a_mask_are_not_used() -> None:
    hidden = np.ma.MaskedArray(VALUES, VALUES == 5)
    values = ArrayDataset.of(hidden, None).values
    np.testing.assert_array_equal(values, np.where(VALUES == 5, np.float32(np.nan), VALUES))


@pytest.mark.parametrize("values", [torch.from_numpy(VALUES).requires_grad_(), torch.from_numpy(VALUES).bfloat16()])
def test_tensors_are_read(values: torch.Tensor) -> None:
    np.testing.assert_array_equal(ArrayDataset.of(values, None).values, VALUES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a", None, "b"]}, r"labels\[1\]: is missing"),
        ({"labels": ["a", "b"]}, "labels: 2 entries for 3 records"),
        ({"groups": ["a", "b"]}, "groups: 2 entries for 3 records"),
        ({"ids": ["a", "a", "b"]}, r"ids\[1\]: 'a' is also the id of entry 0"),
        ({"split": ["train", "train", "test"]}, "split: needs labels"),
        ({"labels": list("aba"), "split": ["train", None, "test"]}, "split is ''"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ArrayDataset.of(VALUES, None, **options)
