from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.tables.cells import clean, clean_all, clean_column, clean_ids, is_missing, near_miss

AROUND = st.text(alphabet=" \t\n\u00a0\u200b\u2003\ufeff\u200d", max_size=4)


@given(name=st.text(alphabet="aé 1-_/Ω", min_size=1), before=AROUND, after=AROUND, form=st.sampled_from(["NFC", "NFD"]))
def test_what_cannot_be_seen_makes_no_other_name(name: str, before: str, after: str, form: str) -> None:
    name = unicodedata.normalize("NFC", name.strip())
    assert clean(before + unicodedata.normalize(form, name) + after) == name
    assert clean_all([before + name + after, name]) == [name, name]


@given(text=st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)
    if not once.endswith('"'):
        assert clean(once) == once


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("sinus\u00a0rhythm", "sinus rhythm"),
        ("p\u200b1", "p1"),
        ("\u200dp1", "p1"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # this joiner is a letter's business
        ('="007"', "007"),
        (' "x"', "x"),
        ('5"', '5"'),
        ("a  b", "a  b"),
    ],
)
def test_names_as_they_are_meant(written: str, name: str) -> None:
    assert clean(written) == name


def test_missing_values() -> None:
    missing = [
        "",
        " ",
        "NA",
        "n/a",
        "NULL",
        "NaN",
        "<NA>",
        "#N/A",
        "#VALUE!",
        "#DIV/0!",
        "#REF!",
        "#NAME?",
        "#NV",
        "###",
    ]
    assert clean_column(missing) == [None] * len(missing)
    names = ["None", "NO", "none", "Na", "#1", "#3 left", "-", "?", "0"]
    assert clean_column(names) == names
    assert not any(map(is_missing, names))


def test_whole_numbers_lose_the_point_that_a_missing_value_gave_them() -> None:
    assert clean_column(["1.0", "", "12.0"]) == ["1", None, "12"]
    assert clean_column(["1,0", "2,5"]) == ["1", "2,5"]
    assert clean_column(["1.0", "a"]) == ["1.0", "a"]  # versions, not numbers
    assert clean_column(["1.000", "2.000"]) == ["1.000", "2.000"]  # thousands, perhaps
    assert clean_column(["007", "7"]) == ["007", "7"]
    assert clean_ids(["1.0", "2.0", " 3"]) == ["1", "2", "3"]
    assert clean_ids(["NA", "a"]) == ["NA", "a"]  # a record may be called so


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("1", "data/1"),
        ("data/1", "1"),
        ("a.hea", "a"),
        ("a", "a.hea"),
        ("007", "7"),
        ("A", "a"),
        (r"C:\ecg\a.hea", "a"),
    ],
)
def test_near_misses(name: str, other: str) -> None:
    assert near_miss(["other", name], ["else", other]) == (name, other)


def test_records_of_two_folders_are_not_alike() -> None:
    assert near_miss(["a/1", "b"], ["c/1", "d"]) is None
