"""Whatever form data come in, the result is that of plain arrays and lists, bit for bit; the rest is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyjepa.data.array_likes import as_array, as_ids, as_names
from anyjepa.data.ecg.arrays import from_arrays
from anyjepa.data.images.preprocessing import checked
from anyjepa.data.series.record import Series
from anyjepa.errors import InputError

LEADS = ("I", "II")


def strided(x: np.ndarray) -> np.ndarray:
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def masked(x: np.ndarray) -> np.ndarray:
    """NaN under a mask, with another value there."""
    return np.ma.MaskedArray(np.where(np.isnan(x), np.float32(-1), x), np.isnan(x))


def nullable(x: np.ndarray) -> list[list[pd.Series]]:
    """Rows as pandas columns with an index that names other places."""
    index = np.arange(x.shape[-1])[::-1]
    return [[pd.Series(pd.array(row, dtype="Float64"), index=index) for row in record] for record in x]


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": lambda x: x.astype(np.float64),
    "long double": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f4"),
    "strided": strided,
    "Fortran order": np.asfortranarray,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "read-only": read_only,
    "masked": masked,
    "masked records": lambda x: [masked(record) for record in x],
    "masked rows": lambda x: [list(masked(record)) for record in x],
    "masked values": lambda x: [[list(masked(row)) for row in record] for record in x],
    "nested lists": lambda x: x.astype(object).tolist(),
    "tensor": lambda x: torch.tensor(x),
    "tensor with gradient": lambda x: torch.tensor(x).requires_grad_() * 1,
    "tensors": lambda x: [torch.tensor(record, dtype=torch.float64) for record in x],
    "tensors of rows": lambda x: [[torch.tensor(row) for row in record] for record in x],
    "generator": lambda x: (record for record in x),
    "a pandas column of records": lambda x: pd.Series(list(x), index=range(len(x), 0, -1)),
    "pandas columns": lambda x: [[pd.Series(row, index=range(len(row), 0, -1)) for row in record] for record in x],
    "nullable pandas columns": nullable,
}

VALUES = st.floats(-20, 20, width=32) | st.just(np.nan)
STACKS = arrays(np.float32, st.tuples(st.integers(1, 3), st.just(2), st.integers(1, 9)), elements=VALUES)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(x=STACKS)
def test_any_form_of_a_signal_is_the_same_signal(form: str, x: np.ndarray) -> None:
    read = from_arrays(FORMS[form](x), fs=100, leads=LEADS, unit="mV", warn=False)
    plain = np.where(np.isnan(x), np.float32(np.nan), x)  # one NaN of all
    assert np.stack([r.signal for r in read]).tobytes() == plain.tobytes()


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(x=STACKS)
def test_one_record_needs_no_list(form: str, x: np.ndarray) -> None:
    one = FORMS[form](x)
    one = next(iter(one)) if not isinstance(one, pd.Series) else one.iloc[0]
    if isinstance(one, list):  # a list is one of records
        one = [one]
    (read,) = from_arrays(one, fs=100, leads=LEADS, unit="mV", warn=False)
    np.testing.assert_array_equal(read.signal, x[0])
    np.testing.assert_array_equal(Series("s", one[0] if isinstance(one, list) else one).values, x[0])


@settings(deadline=None)
@given(x=arrays(np.int16, (2, 2, 4)))
def test_integers_of_any_width_and_their_masks(x: np.ndarray) -> None:
    hidden = x == x.min()
    expected = np.where(hidden, np.nan, x.astype(np.float32) / 1000)
    for data in (x, x.astype(">i4"), x.astype(np.int64)):
        read = from_arrays(np.ma.MaskedArray(data, hidden), fs=100, leads=LEADS, unit="uV", warn=False)
        np.testing.assert_allclose(np.stack([r.signal for r in read]), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_narrow_floats_are_exact(dtype: torch.dtype) -> None:
    x = torch.tensor([[[0.5, -1.25, 448.0], [0.0, 1.0, 2.0]]]).to(dtype)
    (read,) = from_arrays(x, fs=100, leads=LEADS, unit="mV", warn=False)
    assert read.signal.tolist() == [[0.5, -1.25, 448.0], [0.0, 1.0, 2.0]]


X = np.ones((2, 2, 5))


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (X.astype(complex), r"^signals\S*: values of type complex128 are not numbers$"),
        (torch.ones(2, 2, 5, dtype=torch.complex64), "values of type complex64 are not numbers"),
        (X.astype(bool), "values of type bool are not numbers"),
        (X.astype(object), "values of type object are not numbers"),
        (X.astype(str), "values of type <U32 are not numbers"),
        (X.astype("datetime64[s]"), "values of type datetime64"),
        ([X[0].astype(bool), X[1]], r"signals\[0\]: values of type bool"),
        ([[[1, 2], [3]]], r"^signals: is not an array of numbers \(.*\)$"),
        (torch.ones(2, 2, 5).to_sparse(), "is not an array of numbers"),
        (torch.ones(2, 2, 5, device="meta"), "is not an array of numbers"),
        (pd.DataFrame(X[0]), r"signals: is a DataFrame; pass an array of numbers, such as \.to_numpy\(\) of a table"),
        ([pd.DataFrame(X[0])], "signals: is a DataFrame"),
        ("signals.npz", "signals: is a str; it must be a list, one entry per record"),
        ({"a": X[0]}, "signals: is a dict"),
        ({1.0, 2.0}, "signals: is a set"),
        (None, "signals: is a NoneType"),
        (5.0, "signals: is a float"),
        (np.float64(5), r"shape \(\) must be \(records, leads, samples\)"),
        (X * 1e300, "has values that are infinite"),
    ],
)
def test_what_holds_no_real_numbers_is_one_line(signals: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_arrays(signals, fs=100, leads=LEADS, unit="mV", warn=False)


def test_pixels_under_a_mask_are_refused() -> None:
    image = np.ma.MaskedArray(np.zeros((4, 4), np.uint8), np.eye(4, dtype=bool))
    with pytest.raises(InputError, match="must be uint8"):
        checked(image)
    np.testing.assert_array_equal(checked(np.ma.MaskedArray(image.data))[..., 0], 0)
    np.testing.assert_array_equal(checked(torch.full((4, 4), 3, dtype=torch.uint8)), 3)


def test_a_plain_array_is_not_copied() -> None:
    assert as_array(X, "x") is X


# --- names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("p1", "p1"), (np.str_("p1"), "p1"), (b"p1", "p1"), (np.bytes_("é".encode()), "é"),
        (" p 1", "p 1"), ("p\u00a01\u200b", "p 1"),
        (1, "1"), (1.0, "1"), (1.5, "1.5"), (np.float32(1.1), "1.1"), (-0.0, "0"), (np.int8(-3), "-3"),
        (2**53 + 1, "9007199254740993"), (np.uint64(2**64 - 1), "18446744073709551615"), (10**30, f"1{'0' * 30}"),
        (2.0**53 - 1, "9007199254740991"), (np.float32(2**24 - 1), "16777215"), ("1.0", "1"),
        (np.array(7), "7"), (torch.tensor(7), "7"), (Fraction(3, 2), "3/2"),
        (Decimal("1.50"), "1.50"), (uuid.UUID(int=5), str(uuid.UUID(int=5))), (pd.Timestamp(0), "1970-01-01 00:00:00"),
        (None, None), (np.nan, None), (float("nan"), None), (pd.NA, None), (pd.NaT, None), (np.datetime64("NaT"), None),
        (np.ma.masked, None), (Decimal("NaN"), None), ("", None), (" ", None), (b"", None), ("nan", None),
        ("<NA>", None), ("None", None), (np.array(np.nan), None), ("n/a", None), ("#N/A", None), ("NULL ", None),
    ],
)  # fmt: skip
def test_a_name_is_that_of_a_table(value: Any, name: str | None) -> None:
    assert as_names([value], 1, "patients") == [name]


@pytest.mark.parametrize(
    "value",
    [
        True, np.False_, ["a"], ("a",), {"a": 1}, np.zeros(2), torch.zeros(2), b"\xff", "a\udcff",
        np.inf, 2.0**53, np.float32(2**24), np.float16(2048), -1e22,
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"^patients\[1\]: "):
        as_names(["a", value], 2, "patients")


def test_names_are_those_of_a_column_of_a_table():
    assert as_names(["1", "2.0", "n/a", 3.0], 4, "patients") == ["1", "2", None, "3"]
    assert as_names(["1.0", "a"], 2, "patients") == ["1.0", "a"]  # not a column of numbers
    assert as_ids(["a ", "1.0"], 2, "ids") == ["a ", "1.0"]  # an id is a key


def test_a_column_of_objects_holds_records():
    records = [np.full((2, 20), float(n)) for n in range(3)]
    column = pd.Series(records, index=[2, 0, 1])
    ragged = np.empty(2, object)
    ragged[:] = [records[0], records[1][:, :10]]
    for values in (column, column.to_numpy(), ragged):
        parts = from_arrays(values, fs=100, leads=["I", "II"], unit="mV", warn=False)
        assert [part.signal.shape for part in parts] == [record.shape for record in values]
        assert [part.signal[0, 0] for part in parts] == [float(n) for n in range(len(values))]


NAMES = st.lists(st.none() | st.integers(-5, 2**63 - 1), min_size=1, max_size=6)


@settings(deadline=None)
@given(names=NAMES)
def test_any_form_of_a_list_of_names_is_the_same_list(names: list[int | None]) -> None:
    expected = [None if name is None else str(name) for name in names]
    column = pd.array(names, dtype="Int64")
    index = range(len(names), 0, -1)
    whole = [0 if name is None else name for name in names]
    forms = [
        names,
        tuple(names),
        iter(names),
        np.array(names, object),
        column,
        pd.Series(column, index=index),
        pd.Series(column, index=index).astype("category"),
        pd.Categorical(column),
        pd.Index(column),
        pd.Series(expected, index=index, dtype=object),
        pd.Series(expected, index=index, dtype="string"),
        np.array([name or "" for name in expected]),
        np.array([name or "" for name in expected], "S"),
        np.ma.MaskedArray(whole, [name is None for name in names]),
    ]
    for form in forms:
        assert as_names(form, len(names), "patients") == expected
    assert as_names(torch.tensor(whole), len(names), "patients") == list(map(str, whole))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("ab", "ids: is a str; it must be a list, one entry per record"),
        ({"a", "b"}, "ids: is a set"),
        ({"a": 1, "b": 2}, "ids: is a dict"),
        (7, "ids: is a int"),
        (np.array([["a", "b"]]), "ids: has 2 axes"),
        (pd.DataFrame({"a": [1], "b": [2]}), "ids: has 2 axes"),
        (["a", "b", "c"], "ids: 3 entries for 2 records; give one per record"),
        (["a", None], r"ids\[1\]: is missing; every record needs an id"),
    ],
)
def test_lists_that_do_not_fit_are_one_line(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_ids(values, 2, "ids")


@pytest.mark.parametrize("ids", [["7", "8", "7"], [7, 8, 7.0], np.array([7, 8, 7])])
def test_repeated_ids_are_one_line(ids: Any) -> None:
    with pytest.raises(InputError, match=r"^ids\[2\]: '7' is also the id of entry 0; ids must be unique$"):
        from_arrays(np.ones((3, 2, 20)), fs=100, leads=LEADS, unit="mV", ids=ids, warn=False)


# --- of ECGs: leads, rate, patients


@pytest.mark.parametrize(
    "leads",
    [np.array(LEADS), np.array(LEADS, "S"), pd.Index(LEADS), pd.Series(LEADS, index=[9, 0]), list(LEADS), iter(LEADS)],
    ids=["array", "bytes", "index", "series", "list", "iterator"],
)
def test_leads_by_position(leads: Any) -> None:
    assert from_arrays(X, fs=100, leads=leads, unit="mV", warn=False)[0].leads == LEADS


@pytest.mark.parametrize(
    "leads", ["I,II", np.str_("I"), {"I", "II"}, np.array("I"), [], None, [1, 2], [["I", "II"]], ["I", "\udcff"]]
)
def test_leads_without_an_order_are_one_line(leads: Any) -> None:
    with pytest.raises(InputError, match=r"^signals: leads are .*; they must be a list of names"):
        from_arrays(X, fs=100, leads=leads, unit="mV", warn=False)


@pytest.mark.parametrize("fs", [100, np.float32(100), np.int16(100), Fraction(200, 2), Decimal(100), torch.tensor(100)])
def test_a_rate_is_any_number(fs: Any) -> None:
    assert from_arrays(X, fs=fs, leads=LEADS, unit=np.float64(1), warn=False)[0].fs == 100.0


def test_unknown_patients_are_not_one_patient() -> None:
    records = from_arrays(X, fs=100, leads=LEADS, unit="mV", patients=[np.nan, np.nan], warn=False)
    assert [r.patient for r in records] == [None, None]
    assert [r.group for r in records] == ["0", "1"]
