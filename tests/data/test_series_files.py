"""Series from files: the formats as they are, and one line for whatever is broken."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anyjepa.data.series.arrays import read_npz
from anyjepa.data.series.reading import read
from anyjepa.data.series.record import Series
from anyjepa.data.series.ts_files import read_ts
from anyjepa.errors import DataWarning, InputError

HEADER = """#a comment
@problemName Toy
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""
LINES = "1,2,?,4:5,6,7,8:up\n\n1,2:3,4:down\n"


def write(folder: Path, text: str, name: str = "Toy_TRAIN.ts") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_read_as_it_says(tmp_path):
    first, second = read_ts(write(tmp_path, HEADER + LINES))
    assert (first.id, first.label, first.split, first.source) == ("Toy_TRAIN/0", "up", "train", "Toy")
    assert np.array_equal(first.values, np.array([[1, 2, np.nan, 4], [5, 6, 7, 8]], np.float32), equal_nan=True)
    assert second.values.tolist() == [[1, 2], [3, 4]]
    assert second.file.endswith("Toy_TRAIN.ts: line 12")


def test_real_series_are_not_taken_for_simulated(tmp_path):
    np.savez(tmp_path / "simulator.npz", series=np.zeros((1, 2, 5)))
    (tmp_path / "simulator").mkdir()
    csv = write(tmp_path / "simulator", "a,b\n1,2\n", "a.csv")
    series, _ = read([tmp_path / "simulator.npz", csv])
    assert [one.source for one in series] == ["simulator (folder)"] * 2


def test_without_classes_the_last_field_is_a_channel(tmp_path):
    (one,) = read_ts(write(tmp_path, "@classLabel false\n@data\n1,2:3,4\n", "plain.ts"))
    assert (one.label, one.split, one.values.shape) == (None, None, (2, 2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@timeStamps false", "@timeStamps true", "has time stamps"),
        ("1,2,?,4", "(0,1),(1,2)", "line 10, channel 0: has time stamps"),
        ("@problemName", "@problmName", "did you mean '@problemname'"),
        ("@data\n", "", "it has no line '@data'"),
        (LINES, "", "there is no series"),
        ("5,6,7,8", "5,6,7", "its channels must have equally many samples, but have 3 to 4"),
        (":3,4:", ":3,4:5,6:", "line 12: has 3 channels, the header says 2"),
        (":down", ":dwn", "did you mean 'down'"),
        ("1,2:3,4", "1,x:3,4", "line 12, channel 0: 'x' is not a number"),
        ("1,2:3,4", "1,:3,4", "a missing value is '\\?'"),
        ("1,2:3,4", "1,1e60:3,4", "channel 0 has a value that is not a finite float32"),
        ("@equalLength false", "@equalLength true", "@equalLength is true, but its series differ"),
        ("@equalLength false", "@equalLength true\n@seriesLength 9", "has 4 samples, the header says 9"),
        ("@equalLength false", "@equalLength maybe", "it must be true or false"),
        ("@dimensions 2", "@dimensions two", "it must be a positive number"),
        ("@classLabel true up down", "@classLabel true", "no class is listed"),
        ("@classLabel true up down", "@targetLabel true", "is a regression problem"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, message):
    text = HEADER + LINES
    assert old in text
    with pytest.raises(InputError, match=message):
        read_ts(write(tmp_path, text.replace(old, new, 1)))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(cut=len(HEADER) + 3, place=0, byte=0)
@given(cut=st.integers(0, len(HEADER + LINES)), place=st.integers(0, len(HEADER + LINES) - 1), byte=st.integers(0, 255))
def test_broken_bytes_are_read_or_refused_in_one_line(tmp_path, cut, place, byte):
    content = bytearray((HEADER + LINES).encode())
    content[place] = byte
    path = tmp_path / "broken_TEST.ts"
    path.write_bytes(content[:cut] if cut % 2 else content)
    with contextlib.suppress(InputError):  # any other error, or two lines of it, would fail
        assert all(one.values.ndim == 2 and one.values.size for one in read_ts(path))


def test_arrays_and_tables(tmp_path):
    np.savez(tmp_path / "a.npz", series=np.arange(12.0).reshape(2, 2, 3), labels=["x", "y"], split=["train", "test"])
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.csv").write_text("left,right\n1,2\n3,\n5,6\n")
    found, skipped = read([tmp_path])
    assert [one.id for one in found] == ["a/0", "a/1", "deep/b"]
    assert found[1].values.tolist() == [[6, 7, 8], [9, 10, 11]]
    assert (found[1].label, found[1].split) == ("y", "test")
    assert np.array_equal(found[2].values, np.array([[1, 3, 5], [2, np.nan, 6]], np.float32), equal_nan=True)
    assert not skipped


@pytest.mark.parametrize(
    "text", [",left,right\n0,0.5,1\n1,NA,2\n", "left;right\n0,5;1\n;2\n", "\ufeffleft\t right\r\n0.5\t 1\r\n\t2\r\n"]
)
def test_a_series_in_every_form(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    (series,), _ = read([tmp_path / "a.csv"])
    np.testing.assert_array_equal(series.values, [[0.5, np.nan], [1, 2]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"left,right\n1\n", "row 1 has 1 cells, but the header has 2"),
        ("a.csv", b"left\nx\n", "column 'left', row 1: 'x' is not a number"),
        ("a.csv", b"1.5,2.5\n1,2\n", "the first line must name the columns; it contains numbers"),
        ("a.csv", b",left\n5,1\n6,2\n", "a column has no name"),
        ("a.csv", b"left,left\n1,2\n", "column 'left' occurs twice"),
        ("a.csv", b"", "is empty; the first line must name the columns"),
        ("a.csv", b"left,right\n", "neither of them 0"),
        ("a.npz", b"PK nonsense", "cannot be read as NumPy arrays"),
        ("a.txt", b"", "cannot read files that end in '.txt'"),
    ],
)
def test_broken_arrays_and_tables_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read([tmp_path / name])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1]}, "unknown key 'x'"),
        ({"labels": ["a"]}, "key 'series' is missing"),
        ({"series": [1.0]}, "must be \\(series, channels, samples\\)"),
        ({"series": [[[1.0]]], "labels": ["a", "b"]}, "labels: 2 entries for 1 records"),
        ({"series": [[["a"]]]}, "are not numbers"),
        ({"series": np.zeros((2, 1, 3)), "ids": ["a", "a"]}, "'a' is also the id of entry 0"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read([tmp_path / "a.npz"])


def test_broken_files_of_a_folder_are_skipped_and_counted_if_asked(tmp_path):
    write(tmp_path, HEADER + LINES)
    broken = write(tmp_path, HEADER, "Toy_TEST.ts")
    with pytest.raises(InputError, match="there is no series"):
        read([tmp_path])
    found, skipped = read([tmp_path], on_error="skip")
    assert len(found) == 2
    assert list(skipped) == [str(broken)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no series"):
        read([tmp_path / "empty"])


def test_a_folder_says_the_split_and_names_what_is_not_read(tmp_path):
    for place in ("train/a", "testing/b"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / f"{place}.CSV").write_text("x\n1\n2\n")
    for name in ("Toy_TRAIN.tsv", "Toy_TEST.arff", "labels.csv", "._a.csv"):
        (tmp_path / "train" / name).write_text("")
    (tmp_path / "again").symlink_to("train")
    with pytest.warns(DataWarning) as warned:
        series, skipped = read([tmp_path])
    assert [(one.id, one.split) for one in series] == [("testing/b", "test"), ("train/a", "train")]
    assert not skipped
    assert [str(w.message).removeprefix(f"{tmp_path}: ") for w in warned] == [
        "2 files are not read: 1 .arff, 1 .tsv",
        f"1 link is not followed: again (to {tmp_path / 'train'}, which is already read)",
    ]
    (tmp_path / "other").mkdir()
    (tmp_path / "train" / "Toy_TRAIN.tsv").rename(tmp_path / "other" / "a.tsv")
    with pytest.raises(InputError, match=r"has no series; files ending in .* are read; it holds 1 \.tsv"):
        read([tmp_path / "other"])


def test_a_series_has_channels_and_samples():
    with pytest.raises(InputError, match="shape \\(3,\\) must be \\(channels, samples\\)"):
        Series("a", np.zeros(3))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("problem", "parts", "channels", "lengths", "classes"),
    [
        ("BasicMotions", (40, 40), 6, (100, 100), 4),
        ("JapaneseVowels", (270, 370), 12, (7, 29), 9),
        ("ItalyPowerDemand", (67, 1029), 1, (24, 24), 2),
        ("OSULeaf", (200, 242), 1, (427, 427), 6),
    ],
)
def test_archive_problems(test_data, problem, parts, channels, lengths, classes):
    found, _ = read([test_data / "timeseries" / problem])
    assert tuple(sum(one.split == part for one in found) for part in ("train", "test")) == parts
    assert {len(one.values) for one in found} == {channels}
    sizes = [one.values.shape[1] for one in found]
    assert (min(sizes), max(sizes)) == lengths
    assert len({one.label for one in found}) == classes


def test_the_split_of_an_npz_may_be_spelt_as_people_spell_it(tmp_path):
    """A part that is not known would leave its series out of training and test without a word."""
    series, split = np.zeros((4, 1, 8)), ["Train", "val", "testing", ""]
    np.savez(tmp_path / "a.npz", series=series, split=split)
    assert [one.split for one in read_npz(tmp_path / "a.npz")] == ["train", "validation", "test", None]
    np.savez(tmp_path / "a.npz", series=series, split=["train", "trian", "test", "test"])
    with pytest.raises(InputError, match=r"series '1': split is 'trian'; it must be train, validation, test or empty"):
        read_npz(tmp_path / "a.npz")
