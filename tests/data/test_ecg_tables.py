from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anyjepa.data.ecg.tables import read_table
from anyjepa.errors import InputError

SIGNAL = np.random.default_rng(0).normal(size=(3, 250))


def table(**more: object) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(["lead_i", "AVF", "v2"], SIGNAL, strict=True)) | more)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_written_by_pandas_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    frame = table(fs=250, unit="uV", patient="p7")
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    recording = read_table(path, "a", source="s")
    np.testing.assert_allclose(recording.signal, SIGNAL / 1000, rtol=1e-6)
    assert recording.leads == ("I", "aVF", "V2")
    assert (recording.fs, recording.patient, recording.id) == (250, "p7", "a")


def test_parquet_metadata_tells_rate_and_unit(tmp_path: Path) -> None:
    told = pa.Table.from_pandas(table()).replace_schema_metadata({"fs": "250", "unit": "V"})
    pq.write_table(told, tmp_path / "a.parquet")
    recording = read_table(tmp_path / "a.parquet", "a")
    np.testing.assert_allclose(recording.signal, SIGNAL * 1000, rtol=1e-6)


def test_the_rate_follows_from_times_and_arguments_come_first(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    table(time_s=np.arange(250) / 125).to_csv(path, index=False)
    assert read_table(path, "a", unit="mV").fs == pytest.approx(125)
    assert read_table(path, "a", unit="mV", fs=500).fs == 500


def test_empty_cells_are_invalid_samples(tmp_path: Path) -> None:
    frame = table()
    frame.loc[3:5, "AVF"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    recording = read_table(tmp_path / "a.csv", "a", fs=250, unit="mV")
    assert np.flatnonzero(np.isnan(recording.signal[1])).tolist() == [3, 4, 5]


def test_lead_columns_can_be_named(tmp_path: Path) -> None:
    table(marker=0).to_csv(tmp_path / "a.csv", index=False)
    assert read_table(tmp_path / "a.csv", "a", fs=250, leads=["v2"], unit="mV").leads == ("V2",)
    with pytest.raises(InputError, match=r"a\.csv: column 'v22' is missing; did you mean 'v2'"):
        read_table(tmp_path / "a.csv", "a", fs=250, leads=["v22"], unit="mV")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"marker": 0, "fs": 250, "unit": "mV"}, "column 'marker' is not a lead"),
        ({"fs": 250}, "'unit' is missing from the table"),
        ({"unit": "mV"}, "'fs' is missing from the table"),
        ({"fs": [250] * 249 + [500], "unit": "mV"}, "column 'fs' must have a single value, not 2"),
        ({"unit": "mV", "time_s": ["x"] * 250}, "column 'time_s', row 1: 'x' is not a number"),
        ({"unit": "mV", "time_s": 1.0}, "column 'time_s' is not evenly spaced"),
        ({"fs": 250, "unit": True}, "unit 'True' is not a voltage"),
        ({"fs": "fast", "unit": "mV"}, "sampling rate 'fast' is not a number"),
        ({"unit": "mV", "time_s": np.arange(250) ** 2}, "column 'time_s' is not evenly spaced"),
        ({"unit": "mV", "time_s": [*range(248), np.inf, np.inf]}, "column 'time_s' is not evenly spaced"),
        ({"fs": 250, "unit": "mV", "V1": ["1"] * 9 + ["x"] * 241}, "column 'V1', row 10: 'x' is not a number"),
    ],
)
def test_a_table_that_is_no_record_is_named(tmp_path: Path, more: dict, message: str) -> None:
    table(**more).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=rf"a\.csv: {message}"):
        read_table(tmp_path / "a.csv", "a")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"fs": [[250]] * 250, "unit": "mV"},
            "column 'fs' holds list<element: int64>; a cell must be text or a number",
        ),
        ({"fs": 250, "unit": [{"a": 1}] * 250}, "column 'unit' holds struct<a: int64>; a cell must be"),
        ({"fs": 250, "unit": b"mV"}, "column 'unit' holds binary, not texts or numbers"),
        ({"fs": pd.Timestamp("2020"), "unit": "mV"}, "sampling rate '2020.*' is not a number in Hz"),
        (
            {"unit": "mV", "time_s": pd.date_range("2020", periods=250)},
            "column 'time_s' holds timestamp.*, not numbers",
        ),
        ({"fs": 250, "unit": "mV", "V1": True}, "column 'V1' holds bool, not numbers"),
    ],
)
def test_a_wrong_type_in_a_parquet_column_is_named(tmp_path: Path, more: dict, message: str) -> None:
    table(**more).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet: {message}"):
        read_table(tmp_path / "a.parquet", "a")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"fs": "[250]", "unit": "mV"}, r"sampling rate '\[250\]' is not a number in Hz"),
        ({"fs": "", "unit": "mV"}, "sampling rate '' is not a number in Hz"),
        ({"fs": "250", "unit": ""}, "unit '' is not a voltage"),
        ({"fs": "250", "unit": b"\xff"}, "unit '.' is not a voltage"),
    ],
)
def test_wrong_parquet_metadata_is_named(tmp_path: Path, metadata: dict, message: str) -> None:
    pq.write_table(pa.Table.from_pandas(table()).replace_schema_metadata(metadata), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet: {message}"):
        read_table(tmp_path / "a.parquet", "a")


def test_metadata_of_others_may_be_any_bytes(tmp_path: Path) -> None:
    told = pa.Table.from_pandas(table()).replace_schema_metadata({"fs": "250", "unit": "mV", b"\xff": b"\xff"})
    pq.write_table(told, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", "a").fs == 250


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x01", b'"unclosed'])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_table(tmp_path / name, "a", fs=250, unit="mV")


def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path):
    """pandas would take the first column for an index and shift every lead by one."""
    (tmp_path / "shifted.csv").write_text("I,II\n" + "1,2,3\n" * 100)
    with pytest.raises(InputError, match=r"row 1 has 3 cells, but the header has 2 \('I,II'\)"):
        read_table(tmp_path / "shifted.csv", "shifted", fs=500, unit="mV")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_a_european_spreadsheet(tmp_path: Path, encoding: str) -> None:
    text = "time_s;I ;aVR;patient\r\n0;0,5;-1,25; 007\r\n0,01;#N/A;2;007\u00a0\r\n0,02;1;;007\r\n"
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    recording = read_table(tmp_path / "a.csv", "a", unit="mV")
    np.testing.assert_array_equal(recording.signal, np.float32([[0.5, np.nan, 1], [-1.25, 2, np.nan]]))
    assert (recording.leads, recording.fs, recording.patient) == (("I", "aVR"), 100, "007")


def test_an_index_is_not_a_lead(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        table().to_csv(tmp_path / name) if name == "a.csv" else table().to_parquet(tmp_path / name, index=True)
        assert read_table(tmp_path / name, "a", fs=250, unit="mV").leads == ("I", "aVF", "V2")


def test_an_empty_line_in_one_lead_is_a_sample(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("I\n1\n\n3\n\n")
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv", "a", fs=250, unit="mV").signal, [[1, np.nan, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1,0.2\n0.3,0.4\n", "the first line must name the columns; it contains numbers"),
        ("I;II\n1.000,5;2\n", r"column 'I', row 1: '1\.000,5' is not a number"),
        ("I II\n1 2\n", "column 'I II' is not a lead; the table has one column only: separate its cells with"),
        ("I,I \n1,2\n", "column 'I' occurs twice"),
    ],
)
def test_a_table_that_could_be_read_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=rf"a\.csv: {message}"):
        read_table(tmp_path / "a.csv", "a", fs=250, unit="mV")


@pytest.mark.parametrize(("written", "patient"), [(" p7\u00a0", "p7"), ("NaN", None), ("", None), ("None", None)])
def test_a_patient_of_parquet_metadata(tmp_path: Path, written: str, patient: str | None) -> None:
    facts = {"fs": "250", "unit": " mV", "patient": written}
    pq.write_table(pa.Table.from_pandas(table()).replace_schema_metadata(facts), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", "a").patient == patient
