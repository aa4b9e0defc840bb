"""Ids and class names that a spreadsheet would run as formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.runs.formulas import guard
from anyjepa.runs.table_writing import write_table

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "''", "-0.5", "+1e5", "-5", "-", "＝1", "a=1"]
)


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-1+1|cmd", "@A()", "\t=1", "\r=1", "\n=1", "＝1", "'x", "-", "--5"])
def test_what_begins_as_a_formula_gets_an_apostrophe(text: str) -> None:
    assert guard(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "JS00012", "-0.5", "+5", "-1e-7", ".5", "12", " =1", "é"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert guard(text) == text


@settings(deadline=None)
@given(text=TEXTS)
def test_one_rule_reads_every_text_back(text: str) -> None:
    assert guard(text).removeprefix("'") == text
    assert guard(text)[:1] not in tuple("=@\t\r\n＝＋－＠")


@settings(deadline=None)
@given(ids=st.lists(TEXTS, min_size=1, max_size=4), name=TEXTS)
def test_a_file_gives_the_same_ids_and_numbers(ids: list[str], name: str, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("tables")
    numbers = -np.arange(1.0, len(ids) + 1) / 8
    table = pd.DataFrame({"id": pd.Series(ids, dtype=object), f"{name}.probability": numbers})
    write_table(folder / "t.csv", table)
    read = pd.read_csv(folder / "t.csv", dtype={"id": str}, keep_default_na=False)
    assert read["id"].str.removeprefix("'").tolist() == ids
    assert read.columns[1].removeprefix("'") == f"{name}.probability"
    np.testing.assert_array_equal(read.iloc[:, 1], numbers)
    write_table(folder / "t.parquet", table)
    assert pd.read_parquet(folder / "t.parquet")["id"].tolist() == ids


def test_numbers_of_a_column_are_written_as_they_are(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"id": ["-A", "b"], "z0": [-0.5, 2.0], "yes": [True, False]}))
    assert (tmp_path / "t.csv").read_text() == "id,z0,yes\n'-A,-0.5,True\nb,2.0,False\n"


def test_values_that_are_neither_texts_nor_numbers_are_written_as_python_shows_them(tmp_path: Path) -> None:
    rows = [{"a": [0.1, 0.2], "b": None, "c": 5, "d": {"k": 1}}, {"a": ["=1"], "b": True, "c": "=5", "d": None}]
    write_table(tmp_path / "t.csv", pd.DataFrame(rows))
    assert (tmp_path / "t.csv").read_text() == "a,b,c,d\n\"[0.1, 0.2]\",,5,{'k': 1}\n['=1'],True,'=5,\n"
