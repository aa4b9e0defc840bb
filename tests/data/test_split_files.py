"""Splits of runs: their files, who is kept out of pretraining, and labels that follow them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.labels import LabelTable
from anyjepa.data.split_files import kept_out, read_split, split_table, with_split, write_split
from anyjepa.errors import InputError

SPLIT = split_table(["a1", "a2", "b1", "c1"], ["a", "a", "b", "c"], ["test", "test", "train", "train"])


def labels(ids, groups):
    return LabelTable(tuple(ids), ("x",), np.ones((len(ids), 1)), tuple(groups), exclusive=False)


@given(st.lists(st.text("abc,\"' \né;", min_size=1).filter(str.strip), unique_by=str.strip, min_size=1), st.data())
def test_a_written_split_is_read_back(tmp_path_factory, names, data):
    parts = data.draw(
        st.lists(st.sampled_from(["train", "validation", "test"]), min_size=len(names), max_size=len(names))
    )
    names = [name.replace("\n", "").replace('"', "") + f"#{place}" for place, name in enumerate(names)]
    path = tmp_path_factory.mktemp("split") / "split.csv"
    write_split(path, split_table(names, names, parts))
    read = read_split(path)
    assert (read.ids, read.groups, read.split) == (tuple(map(str.strip, names)),) * 2 + (tuple(parts),)


def test_records_are_kept_out_with_all_that_the_data_put_into_their_group():
    assert kept_out(SPLIT, ["a1", "b1", "a3", "c1"], ["p", "q", "p", "r"]) == ["a1", "a3"]
    assert kept_out(SPLIT, ["b1", "new"], ["b1", "new"]) == []


def test_a_split_of_other_records_is_refused_with_the_fix():
    with pytest.raises(InputError, match="data have 'x/a1'; write 'x/a1' for 'a1' in the table"):
        kept_out(SPLIT, ["x/a1"], ["p"])


def test_labels_follow_ids_then_groups_and_the_rest_is_trained_on():
    table = with_split(labels(["a1", "beat of a2", "b1", "new"], ["a", "a", "b", "new"]), SPLIT, {})
    assert table.split == ("test", "test", "train", "train")
    by_patient = with_split(labels(["beat of a2", "b1"], ["1", "2"]), SPLIT, {"beat of a2": "a"})
    assert by_patient.split == ("test", "train")


def test_labels_of_other_records_keep_their_own_split():
    table = labels(["x", "y"], ["x", "y"])
    assert with_split(table, SPLIT, {}) is table


def test_groups_that_the_split_divides_are_refused():
    with pytest.raises(InputError, match="group 'family' is in 'test' and in 'train'"):
        with_split(labels(["a1", "b1"], ["family", "family"]), SPLIT, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split\na,tset\n", "split.csv: labels: row 1 \\(id 'a'\\): split is 'tset'; did you mean 'test'"),
        ("id,group,split\na,p,test\nb,p,train\n", "split.csv: labels: row 2 \\(id 'b'\\): group 'p' is in 'test'"),
        ("id,part\na,test\n", "split.csv: column 'split' is missing"),
        ("id,split\n", "split.csv: the table has no rows"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_split(tmp_path / "split.csv")
