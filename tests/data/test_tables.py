"""Every form of a text table gives the same cells, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError

ROWS = [["id", "AF", "patient", "mV"], ["a", "0", "p1", "0.5"], ["b", "1", "p 1", "-1.25"], ["é", "0", "007", ""]]


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes, name: str = "t.csv") -> Path:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    padding=st.sampled_from(["", " ", "\u00a0", "\u200b"]),
    quoted=st.booleans(),
    commas=st.booleans(),
    trailing=st.sampled_from(["", "header and rows", "rows"]),
    empty=st.integers(0, 3),
    stated=st.booleans(),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
def test_all_forms_hold_the_same(
    tmp_path, separator, encoding, end, padding, quoted, commas, trailing, empty, stated, suffix
):
    def line(number: int, row: list[str]) -> str:
        cells = [padding + cell + padding for cell in row]
        if commas and separator != ",":
            cells[3] = cells[3].replace(".", ",")
        ends = separator * (trailing == "header and rows" or (trailing == "rows" and number > 0))
        return separator.join(f'"{cell}"' if quoted else cell for cell in cells) + ends

    lines = [f"sep={separator}"] * stated + [line(*row) for row in enumerate(ROWS)]
    lines = [" " * 6] * (empty > 1) + lines + ["", separator * 3, " "][:empty]
    path = tmp_path / f"t{suffix}"
    path.write_bytes((end.join(lines) + end).encode(encoding))
    table = open_table(path).read(["id", "AF", "patient", "mV"]).without_empty_end()
    assert table.texts("id") == ["a", "b", "é"]
    assert table.texts("AF") == ["0", "1", "0"]
    assert table.texts("patient") == ["p1", "p 1", "007"]
    np.testing.assert_array_equal(table.numbers(["mV", "AF"]), [[0.5, -1.25, np.nan], [0, 1, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"\n\n", "is empty"),
        (
            "id,a\né,1\n".encode("latin-1"),
            r"is not UTF-8 text \(byte 0xe9\); perhaps Windows-1252 or Latin-1; save it as UTF-8",
        ),
        ("id,a\n1,1\n".encode("utf-16-le"), "contains zero bytes.*perhaps UTF-16"),
        (b"id,a\n" + b"1,1\n" * 20_000 + b"1,\x00\n", "contains zero bytes"),
        (b"PK\x03\x04....", "is a zip file or an Excel workbook, not text; save it as CSV"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"PAR1", "is a Parquet file"),
        (b"id,a\n1,2,3\n", r"row 1 has 3 cells, but the header has 2 \('id,a'\)"),
        (b"id,a\n1,2\n1\n", "row 2 has 1 cells, but the header has 2"),
        (b"id,a\n1,2\nTotal: 1\n", "row 2 has 1 cells"),
        (b'id,a\n1,"2\n3,4\n', r"line 3: a quote is not closed"),
        (b"# by me, today\nid,a\n1,2\n", "column 'id' is missing.*the first line looks like a comment"),
        (
            b"id a\n1 2\n",
            "column 'id' is missing; the table has one column only: separate its cells with a comma",
        ),
        (b"id,a,a\n1,2,3\n", "column 'a' occurs twice"),
        (b"id,a,a \n1,2,3\n", "column 'a' occurs twice"),
        (b"#id,a\n1,2\n", "column 'id' is missing; did you mean '#id'"),
        (b"id,A\n1,2\n", "column 'a' is missing; did you mean 'A'"),
        (b"id," + b"x" * 200_000 + b"\n", "cannot be read as a table"),
    ],
)
def test_a_wrong_text_is_one_line(write, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv: {message}") as error:
        open_table(write(content)).read(["id", "a"])
    assert "\n" not in str(error.value)


def test_an_inch_is_not_a_quote_and_a_text_may_have_lines(write) -> None:
    table = open_table(write('id,a\n1,5" wide\n2,"x\ny, ""z"""\n')).read(["id", "a"])
    assert table.texts("a") == ['5" wide', 'x\ny, "z"']
    assert len(table) == 2


def test_columns_without_a_name_are_called_as_in_pandas(write) -> None:
    file = open_table(write(",id,\n0,a,x\n1,b,y\n"))
    assert file.names == ("Unnamed: 0", "id", "Unnamed: 2")
    assert file.read(["Unnamed: 2"]).texts("Unnamed: 2") == ["x", "y"]


def test_an_index_is_not_data(write) -> None:
    assert list(open_table(write(",I,II\n0,5,6\n1,7,8\n")).read_all().columns) == ["I", "II"]
    assert list(open_table(write("index,I\n0,5\n1,7\n")).read_all().columns) == ["I"]
    assert list(open_table(write("I,II,\n5,6,\n7,8,\n")).read_all().columns) == ["I", "II"]
    with pytest.raises(InputError, match=r"a column has no name \('Unnamed: 0'\); name it, or save without an index"):
        open_table(write(",I\n1,5\n2,7\n")).read_all()


@pytest.mark.parametrize("header", ["0.1,0.2", "15,25", "-1,0", "1e3,2"])
def test_a_header_of_numbers_is_a_row(write, header: str) -> None:
    with pytest.raises(InputError, match="the first line must name the columns; it contains numbers"):
        open_table(write(f"{header}\n1,2\n")).read_all()


@pytest.mark.parametrize("header", ["0,1", "1,2", "a,2"])
def test_a_header_may_count(write, header: str) -> None:
    table = open_table(write(f"{header}\n5,6\n")).read_all()
    assert table.numbers(list(table.columns)).tolist() == [[5], [6]]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("a\n1\n\n3\n", [1, np.nan, 3]),  # an empty cell in the middle of one column
        ("a\n1\n2\n\n\n", [1, 2]),
        ('a\n1\n""\n', [1, np.nan]),
        ("a\n1,5\n2,5\n", [1.5, 2.5]),
        ("a,b\n+1,x\n.5,x\n5.,x\n1e-3,x\n", [1, 0.5, 5, 0.001]),
        ("a,b\nNA,x\n#DIV/0!,x\nNone,x\n-nan,x\nnull,x\n\u00a02 ,x\n", [np.nan] * 5 + [2]),
    ],
)
def test_numbers(write, content: str, values: list[float]) -> None:
    np.testing.assert_array_equal(open_table(write(content)).read(["a"]).numbers(["a"]), [values])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a;b\n1,5;2\n1.5;2\n", r"numbers have both commas and points \('1,5', '1\.5'\)"),
        ("a;b\n1,5;1.000\n", r"numbers have both commas and points \('1,5', '1\.000'\)"),  # a thousand, perhaps
        ("a;b\n1.000,5;2\n", "column 'a', row 1: '1.000,5' is not a number"),
        ('a,b\n1,2\n"1,5",2\n', "column 'a', row 2: '1,5' is not a number"),  # or 15, or 1500
        ("a,b\n1_000,2\n", "column 'a', row 1: '1_000' is not a number"),
        ("a,b\n0x1A,2\n", "column 'a', row 1: '0x1A' is not a number"),
        ("a,b\nTrue,2\n", "column 'a', row 1: 'True' is not a number"),
        ("a b\n1 2\n", "row 1: '1 2' is not a number; the table has one column only"),
    ],
)
def test_what_is_not_a_number(write, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        (table := open_table(write(content)).read_all()).numbers(list(table.columns))
