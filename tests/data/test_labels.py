from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest

from anyjepa.data.labels import LabelTable, join, read_label_table
from anyjepa.errors import DataWarning, InputError


def table(**changes) -> LabelTable:
    fields = {
        "ids": ("r1", "r2", "r3", "r4"),
        "classes": ("sinus", "AF"),
        "values": [[1, 0], [0, 1], [1, 0], [1, 0]],
        "groups": ("a", "a", "b", "c"),
        "exclusive": True,
    }
    return LabelTable(**(fields | changes))


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "labels.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_counts_and_select_keep_the_order_asked_for():
    chosen = table(split=("train", "train", "test", "test")).select(["r3", "r2"])
    assert chosen.ids == ("r3", "r2")
    assert chosen.groups == ("b", "a")
    assert chosen.split == ("test", "train")
    assert chosen.values.tolist() == [[1, 0], [0, 1]]
    assert table().counts() == {"sinus": 3, "AF": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("r1", "r2", "r1", "r4")}, "id 'r1' occurs twice \\(rows 1 and 3\\)"),
        ({"classes": ("AF", "AF")}, "class 'AF' occurs twice"),
        ({"values": [[1, 0]]}, "need \\(4, 2\\)"),
        ({"groups": ("a",)}, "1 groups for 4 ids"),
        ({"values": [[1, 0], [0, 1], [1, 0.5], [1, 0]]}, "row 3 \\(id 'r3'\\): class 'AF' is 0.5"),
        ({"values": [[1, 0], [0, 1], [1, 0], [1, np.nan]]}, "row 4 \\(id 'r4'\\): class 'AF' is nan"),
        (
            {"values": [[1, 0], [1, 1], [1, 0], [1, 0]]},
            "row 2 \\(id 'r2'\\): exactly one class is needed, found sinus, AF",
        ),
        ({"values": [[1, 0], [0, 0], [1, 0], [1, 0]]}, "found none"),
        ({"split": ("train", "test", "test", "test")}, "group 'a' is in 'train' and in 'test'"),
        ({"split": ("train", "train", "tset", "test")}, "split is 'tset'; did you mean 'test'"),
    ],
)
def test_a_wrong_table_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        table(**changes)


def test_drop_rare_from_an_exclusive_table_drops_the_records_too():
    three = table(classes=("sinus", "AF", "flutter"), values=[[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(InputError, match="too few classes have 2 records or more; there are: sinus 2, AF 1, flutter 1"):
        three.drop_rare(2)
    four = table(classes=("sinus", "AF", "flutter"), values=[[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    kept, dropped = four.drop_rare(1)
    assert dropped == {"flutter": 0}
    assert kept.classes == ("sinus", "AF")
    assert len(kept) == 4
    assert kept.exclusive


def test_drop_rare_from_a_multi_label_table_keeps_the_records():
    multi = table(classes=("lvh", "block"), values=[[1, 1], [1, 0], [0, 0], [0, 0]], exclusive=False)
    kept, dropped = multi.drop_rare(2)
    assert dropped == {"block": 1}
    assert kept.values.tolist() == [[1], [1], [0], [0]]


def test_join_reports_both_sides():
    joined = join(table(), ["r4", "new", "r1"])
    assert joined.table.ids == ("r4", "r1")
    assert joined.index.tolist() == [0, 2]
    assert joined.unlabelled == ("new",)
    assert joined.absent == ("r2", "r3")
    with pytest.raises(InputError, match="no id in common with the data; labels have 'r1', data have 'x/r1'"):
        join(table(), ["x/r1"])


def test_class_names_become_an_exclusive_table(write):
    path = write("ecg,rhythm,patient,part\n001,sinus,p1,train\n002,AF,p1,train\n003,sinus,7,test\n")
    read = read_label_table(path, id="ecg", target=["rhythm"], group="patient", split="part")
    assert read.ids == ("001", "002", "003")
    assert read.classes == ("AF", "sinus")
    assert read.values.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert read.exclusive
    assert read.groups == ("p1", "p1", "7")
    assert read.split == ("train", "train", "test")


def test_zero_one_columns_become_a_multi_label_table(tmp_path):
    frame = pd.DataFrame({"id": [1, 2], "lvh": [0, 1], "block": [True, True], "patient": [3.0, 4.0]})
    frame.to_parquet(tmp_path / "labels.parquet")
    frame.to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    for name in ("labels.parquet", "labels.tsv"):
        read = read_label_table(tmp_path / name, id="id", target=["lvh", "block"], group="patient")
        assert read.ids == ("1", "2")
        assert read.values.tolist() == [[0, 1], [1, 1]]
        assert not read.exclusive


def test_one_zero_one_column_is_one_class_unless_told_otherwise(write):
    path = write("id,af\na,0\nb,1\n")
    assert read_label_table(path, "id", ["af"], split_by="record").classes == ("af",)
    assert read_label_table(path, "id", ["af"], split_by="record", exclusive=True).classes == ("0", "1")


def test_groups_may_come_from_the_data(write):
    path = write("id,af\na,0\nb,1\n")
    assert read_label_table(path, "id", ["af"], group={"a": "p", "b": "p"}).groups == ("p", "p")
    with pytest.raises(InputError, match="no id in common"):
        read_label_table(path, "id", ["af"], group={"z": "p"})


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("id,rythm,patient\na,x,p\n", {}, "column 'rhythm' is missing; did you mean 'rythm'"),
        ("id,rhythm,patient\na,x,p\na,y,q\n", {}, "id 'a' occurs twice \\(rows 1 and 2\\)"),
        ("id,rhythm,patient\na,x,p\nb,,q\n", {}, "row 2: column 'rhythm' is empty"),
        ("id,rhythm,patient\na,x,\nb,y,q\n", {}, "row 1: column 'patient' is empty"),
        ("id,rhythm,patient\na,x,p\nb,x,q\n", {}, "column 'rhythm' has only one class: 'x'"),
        ("id,rhythm,patient,rhythm\na,x,p,y\n", {}, "column 'rhythm' occurs twice"),
        ("id,rhythm,patient\n", {}, "no rows"),
        ("", {}, "is empty; the first line must name the columns"),
        ("id,rhythm,patient\na,x,p\n", {"group": None}, "--split-by record"),
        ("id,rhythm,patient,s\na,x,p,train\nb,y,p,test\n", {"split": "s"}, "group 'p' is in 'train' and in 'test'"),
        ("id,rhythm,patient\na,0,p\nb,2,q\n", {"exclusive": False}, "row 2 \\(id 'b'\\): column 'rhythm' is '2'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(write, text, arguments, message):
    path = write(text)
    with pytest.raises(InputError, match=message) as error:
        read_label_table(path, **({"id": "id", "target": ["rhythm"], "group": "patient"} | arguments))
    assert "\n" not in str(error.value)
    assert "labels.csv" in str(error.value)


def test_other_files_are_refused(tmp_path, write):
    with pytest.raises(InputError, match=r"not '\.xlsx'"):
        read_label_table(tmp_path / "labels.xlsx", "id", ["x"])
    with pytest.raises(InputError, match="no such file"):
        read_label_table(tmp_path / "labels.csv", "id", ["x"])
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_label_table(write("not parquet", "labels.parquet"), "id", ["x"])


def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path):
    """pandas would take the first column for an index and shift all others."""
    (tmp_path / "labels.csv").write_text("id,x,patient\na,1,p,9\nb,0,q,9\n")
    with pytest.raises(InputError, match="row 1 has 4 cells, but the header has 3"):
        read_label_table(tmp_path / "labels.csv", "id", "x", "patient")


def test_a_column_that_is_twice_in_a_parquet_file(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(["a", "b"]), pa.array(["x", "y"]), pa.array(["p", "q"])]
    pq.write_table(pa.table(columns, names=["id", "rhythm", "rhythm"]), tmp_path / "labels.parquet")
    with pytest.raises(InputError, match=r"labels\.parquet: .*rhythm") as error:
        read_label_table(tmp_path / "labels.parquet", "id", "rhythm", split_by="record")
    assert "\n" not in str(error.value)


FORMS = [["id", "rhythm", "patient", "part"], ["001", "sinus", "p1", "train"], ["b", "AF", "é", "test"]]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("around", ["", " ", "\u00a0", "\u200b", "\ufeff"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_cannot_be_seen_makes_no_other_label(tmp_path, form, around, suffix):
    """A patient written in two ways would be in training and in test."""
    header, *rows = [[unicodedata.normalize(form, around + cell + around) for cell in row] for row in FORMS]
    rows.append(["c", "sinus", "e\u0301", "Test "])
    frame = pd.DataFrame(rows, columns=header)
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame.to_parquet(tmp_path / "l.parquet")
    read = read_label_table(tmp_path / f"l{suffix}", "id", " rhythm", "patient", "part")
    assert read.ids == ("001", "b", "c")
    assert read.classes == ("AF", "sinus")
    assert read.values.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert read.groups == ("p1", "é", "é")
    assert read.split == ("train", "test", "test")


def test_a_table_made_in_python_is_cleaned_too():
    made = table(groups=("a", "a ", "b", "\u200bb"), split=("Train", "train ", "TEST", "test"))
    assert made.groups == ("a", "a", "b", "b")
    assert made.split == ("train", "train", "test", "test")
    with pytest.raises(InputError, match="group 'a' is in 'train' and in 'test'"):
        table(groups=("a", "a ", "b", "c"), split=("train", "test", "test", "test"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,c,g\na,x,1\nb,#N/A,2\nc,,3\n", "row 2: column 'c' is '#N/A', which stands for a missing value; .* 2 rows"),
        ("id,c,g\na,x,1\nb,y,#DIV/0!\n", "row 2: column 'g' is '#DIV/0!', which stands for a missing value"),
        ("id,c,g\na,NA,1\nb,y,2\n", "row 1: column 'c' is 'NA', which stands for a missing value; fill in or remove"),
        ("id,c,g\n,x,1\nb,y,2\n", "row 1: column 'id' is empty; fill in or remove the row"),
        ("id,c,g\na,x,None\nb,y,2\n", "row 1: column 'g' is 'None', a missing value of Python"),
        ("id,c,g\n1E+05,x,1\n2,y,2\n", r"row 1: column 'id' is '1E\+05', a number that a spreadsheet has rounded"),
        ("id,c,g\n1,x,1\n2,y,1.23457E+11\n", r"row 2: column 'g' is '1\.23457E\+11', a number"),
        ('id,c,g\na,x,1\nb,"y\nc,z",2\n', r"row 2: column 'c' contains a line break \('y\\nc,z'\); is a quote missing"),
        ("id,c,g\n1.0,x,1\n1,y,2\n", r"id '1' occurs twice \(rows 1 and 2\)"),
    ],
)
def test_values_that_a_spreadsheet_spoilt(write, text, message):
    with pytest.raises(InputError, match=message):
        read_label_table(write(text), "id", "c", "g")


def test_none_is_a_class(write):
    assert read_label_table(write("id,c,g\na,None,1\nb,NO,2\n"), "id", "c", "g").classes == ("NO", "None")


def test_rows_without_anything_at_the_end_are_not_rows(write):
    text = "id,c,g,note\r\na,x,1,\r\nb,y,2,\r\n,,,\r\n,,,\r\n\r\n"
    assert len(read_label_table(write(text), "id", "c", "g")) == 2


def test_suspicious_names_are_told(write):
    with pytest.warns(DataWarning, match="column 'id': '1-Mar' looks like a name that a spreadsheet has turned into a"):
        read_label_table(write("id,c,g\n1-Mar,x,1\nb,y,2\n"), "id", "c", "g")
    with pytest.warns(DataWarning, match="class 'AF' and class 'af' differ only in letter case, and count as two"):
        assert len(read_label_table(write("id,c,g\na,af,1\nb,AF,2\n"), "id", "c", "g").classes) == 2
    with pytest.warns(DataWarning, match="group 'P1' and group 'p1' differ only in letter case"):
        read_label_table(write("id,c,g\na,x,p1\nb,y,P1\n"), "id", "c", "g")
    with pytest.warns(DataWarning, match="group '007' and group '7' differ only in leading zeros, and count as two"):
        read_label_table(write("id,c,g\na,x,007\nb,y,7\nc,x,70\n"), "id", "c", "g")


def labels_of(*ids: str) -> LabelTable:
    return table(ids=ids, values=np.eye(2)[np.arange(len(ids)) % 2], groups=ids)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("r1,?,AF\nr2,?,sinus\n", r"'\?' may mean an unknown group, but counts as a group"),
        ("r1,p1,AF\nr2,p2,Unknown\n", "'Unknown' may mean an unknown class, but counts as a class"),
    ],
)
def test_words_for_unknown_are_suspicious(write, rows, message):
    with pytest.warns(DataWarning, match=message):
        read_label_table(write(f"id,p,x\n{rows}"), "id", "x", "p")


def test_a_header_among_the_rows_is_refused(write):
    file = write("id,p,x\nr1,p1,AF\nid,p,x\nr2,p2,sinus\n")  # two files, one after the other
    with pytest.raises(InputError, match="row 2 is the header again; remove it"):
        read_label_table(file, "id", "x", "p")


@pytest.mark.parametrize(
    ("labelled", "ids"),
    [("1", "data/1"), ("data/1", "1"), ("a.hea", "a"), ("007", "7"), ("A", "a"), (r"C:\x\a.hea", "a")],
)
def test_ids_that_nearly_match_say_how_to_fix_them(labelled, ids):
    with pytest.raises(InputError, match="no id in common with the data; labels have") as error:
        join(labels_of("other", labelled), ["else", ids])
    assert f"labels have '{labelled}', data have '{ids}'; write '{ids}' for '{labelled}' in the table" in str(
        error.value
    )
    with (
        pytest.warns(DataWarning, match=r"2 ids of the data have no label, but '.*' of the data resembles '.*' of the"),
    ):
        joined = join(labels_of("both", labelled), ["else", "both", ids])
    assert joined.table.ids == ("both",)
    assert (joined.unlabelled, joined.absent) == (("else", ids), (labelled,))


def test_ids_that_look_the_same_match_and_keep_the_datas_form():
    joined = join(labels_of("é", "1", "b"), ["e\u0301", "b ", "1"])
    assert joined.table.ids == ("e\u0301", "b ", "1")
    assert joined.table.groups == ("é", "b", "1")
    joined = join(labels_of("1", "20"), ["20.0", "1.0"])
    assert joined.table.groups == ("20", "1")
    with pytest.raises(InputError, match="the data's id 'b' occurs twice"):
        join(labels_of("b", "c"), ["b ", " b"])


def test_groups_of_the_data_find_ids_that_look_the_same(write):
    path = write("id,af\né,0\nb,1\n")
    assert read_label_table(path, "id", "af", group={"e\u0301": "p", "b": "q"}).groups == ("p", "q")
