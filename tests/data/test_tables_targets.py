from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.tables.targets import read_targets
from anyjepa.errors import InputError


def targets(exclusive: bool | None = None, **columns: list[str]):
    ids = [f"r{row}" for row in range(len(next(iter(columns.values()))))]
    return read_targets(columns, ids, exclusive, Path(__file__))


@pytest.mark.parametrize(
    "cells", ["0 1 1", "0.0 1.0 1.0", "False True True", "FALSE true TRUE", "no Yes YES", "0 TRUE 1"]
)
def test_truth_in_every_spelling_is_one_column(cells: str) -> None:
    classes, values, exclusive = targets(AF=cells.split())
    assert classes == ("AF",)
    assert values.tolist() == [[0], [1], [1]]
    assert not exclusive


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1", "2"] * 5, ("0", "1", "2")),
        (["NO", "AF"], ("AF", "NO")),
        (["None", "AF"], ("AF", "None")),
        (["yes", "no", "unknown"] * 5, ("no", "unknown", "yes")),
        (["N", "V", "F"], ("F", "N", "V")),
    ],
)
def test_names_and_numbers_of_classes(cells: list[str], classes: tuple[str, ...]) -> None:
    found, values, exclusive = targets(rhythm=cells)
    assert found == classes
    assert exclusive
    assert [found[place] for place in values.argmax(1)] == cells
    assert (values.sum(1) == 1).all()


@pytest.mark.parametrize(
    ("cells", "row", "cell"),
    [
        (["0", "1"] * 20 + ["2"], 41, "2"),
        (["0", "1", "1", "2"], 4, "2"),
        (["0", "1"] * 5 + ["unknown"] * 5, 11, "unknown"),
        (["0", "1"] * 5 + ["-1"] * 5, 11, "-1"),
        (["0", "1"] * 5 + ["0.5"] * 5, 11, "0.5"),
        (["yes", "no"] * 50 + ["maybe"] * 2, 101, "maybe"),
        (["True", "False", "Ture"], 3, "Ture"),
    ],
)
def test_a_column_of_0_and_1_with_another_value_does_not_become_classes(cells: list[str], row: int, cell: str) -> None:
    with pytest.raises(InputError, match=rf"row {row} \(id 'r{row - 1}'\): column 'AF' is '{cell}', but .* are 0 or 1"):
        targets(AF=cells)
    assert len(targets(True, AF=cells)[0]) == 3


def test_a_multi_label_column_that_is_not_binary() -> None:
    with pytest.raises(InputError, match=r"row 2 \(id 'r1'\): column 'LBBB' is '2'; it must be 0 or 1"):
        targets(AF=["0", "1"], LBBB=["0", "2"])
    classes, values, exclusive = targets(AF=["0", "true"], LBBB=["yes", "1.0"])
    assert (classes, values.tolist(), exclusive) == (("AF", "LBBB"), [[0, 1], [1, 1]], False)


def test_a_text_in_every_row_is_not_a_target() -> None:
    with pytest.raises(InputError, match="column 'report' has 60000 distinct values in 60000 rows, such as 'text 0'"):
        targets(report=[f"text {row}" for row in range(60_000)])
    with pytest.raises(InputError, match=r"labels of 20000 classes needs 9\.6 GB, more than the limit"):
        targets(report=[f"text {row % 20_000}" for row in range(60_000)])
    classes, values, _ = targets(rhythm=[f"class {row}" for row in range(20)])
    assert values.dtype == np.float32
    assert values.shape == (20, len(classes))
