from __future__ import annotations

import datetime
import io
import json
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError


def texts(column: pa.Array, path: Path) -> list[str | None]:
    pq.write_table(pa.table({"a": column}), path)
    return open_table(path).read(["a"]).texts("a")


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        (pa.array([1, None, 20]), ["1", None, "20"]),
        (pa.array([1.0, None, 20.0]), ["1", None, "20"]),
        (pa.array([1.5, float("nan"), 2.0]), ["1.5", None, "2"]),
        (pa.array([1.0, 2.0], pa.float16()), ["1", "2"]),
        (pa.array([True, False, None]), ["True", "False", None]),
        (pa.array(["a ", None, "#N/A", "é"]), ["a", None, None, "é"]),
        (pa.array(["a", None, "a"], pa.large_string()), ["a", None, "a"]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
        (pa.array([7, None, 7]).dictionary_encode(), ["7", None, "7"]),
        (pa.array([Decimal("1.00"), None, Decimal("100.00")]), ["1", None, "100"]),
        (pa.array([datetime.date(2020, 1, 31), None]), ["2020-01-31", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([], pa.string()), []),
    ],
)
def test_texts_of_every_type(tmp_path: Path, column: pa.Array, cells: list[str | None]) -> None:
    assert texts(column, tmp_path / "t.parquet") == cells


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1], [2]]), "column 'a' holds list<element: int64>; a cell must be text or a number"),
        (pa.array([{"x": 1, "y": 2}]), "column 'a' holds struct<x: int64, y: int64>; a cell must be"),
        (pa.array([b"x"]), "column 'a' holds binary, not texts or numbers"),
        (pa.array([1]).cast(pa.duration("s")), "column 'a' holds duration"),
        (pa.array([2.0**60]), "column 'a': 1152921504606846976 is too large for a double and was rounded"),
        (pa.array([2.0**25], pa.float32()), "column 'a': 33554432 is too large for a float"),
    ],
)
def test_types_that_are_no_texts(tmp_path: Path, column: pa.Array, message: str) -> None:
    with pytest.raises(InputError, match=rf"t\.parquet: {message}"):
        texts(column, tmp_path / "t.parquet")


def test_numbers_of_every_type(tmp_path: Path) -> None:
    columns = {
        "int": pa.array([1, 2]),
        "float": pa.array([1.5, None]),
        "decimal": pa.array([Decimal("0.25"), None]),
        "text": pa.array(["0.5", "NA"]),
        "category": pa.array(["0.5", "1"]).dictionary_encode(),
        "null": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    numbers = open_table(tmp_path / "t.parquet").read_all().numbers(list(columns))
    nan = np.nan
    np.testing.assert_array_equal(numbers, [[1, 2], [1.5, nan], [0.25, nan], [0.5, nan], [0.5, 1], [nan, nan]])


def test_an_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"AF": [0, 1]}, index=pd.Index(["a", "b"], name="record"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").read(["record", "AF"]).texts("record") == ["a", "b"]


def test_an_index_of_consecutive_numbers_is_a_column_too(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ecg_id": [1, 2, 3], "AF": [0, 1, 0]}).set_index("ecg_id")  # pandas stores no such index
    frame.to_parquet(tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").names == ["AF"]
    file = open_table(tmp_path / "t.parquet")
    assert file.names == ("AF", "ecg_id")
    assert file.read(["ecg_id", "AF"]).texts("ecg_id") == ["1", "2", "3"]
    assert file.read(["ecg_id"]).texts("ecg_id") == ["1", "2", "3"]
    assert list(file.read_all().columns) == ["AF"]  # as an index is not data
    frame.rename_axis(None).to_parquet(tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").names == ("AF",)


@pytest.mark.parametrize(
    "change", [{"stop": 10**15}, {"start": "0"}, {"step": 0}, {"name": 7}, {"name": "a"}, {"kind": 1}]
)
def test_a_described_index_that_does_not_fit_is_none(tmp_path: Path, change: dict) -> None:
    index = {"kind": "range", "name": "i", "start": 0, "stop": 1, "step": 1} | change
    table = pa.table({"a": ["x"]}).replace_schema_metadata({"pandas": json.dumps({"index_columns": [index]})})
    pq.write_table(table, tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").names == ("a",)
    assert open_table(tmp_path / "t.parquet").read(["a"]).texts("a") == ["x"]


def test_metadata_of_pandas_are_not_believed(tmp_path: Path) -> None:
    wrong = {"pandas": '{"index_columns": ["nowhere"], "columns": 7, "column_indexes": {}}'}
    pq.write_table(pa.table({"a": ["x"]}).replace_schema_metadata(wrong), tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").read(["a"]).texts("a") == ["x"]


def test_columns_beside_nested_ones(tmp_path: Path) -> None:
    table = pa.table(
        {"s": [{"x": 1, "a": 2}], "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "a": ["right"]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").read(["a"]).texts("a") == ["right"]


def test_a_small_file_with_many_rows_is_refused(tmp_path: Path) -> None:
    with pq.ParquetWriter(tmp_path / "t.parquet", pa.schema({"a": pa.int64()})) as writer:
        group = pa.table({"a": np.zeros(4_000_000, np.int64)})
        for _ in range(10):
            writer.write_table(group)
    with pytest.raises(InputError, match=r"t\.parquet: reading 1 columns needs 320 MB, .* times the size of its file"):
        open_table(tmp_path / "t.parquet").read(["a"])


def test_a_long_text_that_repeats_takes_memory_once(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array(["x" * 1000] * 2000)}), tmp_path / "t.parquet")
    cells = open_table(tmp_path / "t.parquet").read(["a"]).texts("a")
    assert len({id(cell) for cell in cells}) == 1


def test_damage_is_one_line(tmp_path: Path) -> None:
    """Bytes are changed, most of them in the footer: no other exception, and no end of the process."""
    rng, content = random.Random(0), io.BytesIO()
    columns = {"id": [f"r{row}" for row in range(300)], "n": np.arange(300), "l": [[row] for row in range(300)]}
    pq.write_table(pa.table(columns), content, row_group_size=100)
    whole, refused = content.getvalue(), []
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 5])):
            damaged[rng.randrange(footer if rng.random() < 0.8 else 0, len(whole))] = rng.choice([0, 127, 128, 255])
        (tmp_path / "t.parquet").write_bytes(damaged)
        try:
            table = open_table(tmp_path / "t.parquet").read(["id", "n"])
            table.texts("id")
            table.numbers(["n"])
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in message for message in refused)
