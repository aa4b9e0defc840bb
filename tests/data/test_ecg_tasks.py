from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.errors import InputError


def recording(id: str, *statements: str, source: str = "s") -> Recording:
    return Recording(id, np.zeros((1, 9)), 500, ("II",), statements=frozenset(statements), source=source)


def test_an_exclusive_task_leaves_out_what_has_not_exactly_one_class() -> None:
    table = task_table(
        [recording("a", "426783006", "1"), recording("b", "164889003", "164890007"), recording("c", "59118001")],
        "rhythm",
    )
    assert table.ids == ("a",)
    assert table.classes[table.values[0].argmax()] == "sinus rhythm"
    assert table.exclusive


def test_a_binary_task_keeps_every_record_of_the_vocabulary() -> None:
    records = [
        recording("a", "Rhythm: Sinus rhythm", "Left ventricular hypertrophy"),
        recording("b", "Rhythm: Sinus rhythm"),
        recording("c", "426783006"),
        recording("d"),
    ]
    table = task_table(records, "lvh")
    assert table.ids == ("a", "b")
    assert table.values[:, 0].tolist() == [1, 0]


def test_two_vocabularies_share_the_classes_of_a_task() -> None:
    table = task_table([recording("a", "Rhythm: Atrial fibrillation"), recording("b", "164889003")], "rhythm")
    assert table.ids == ("a", "b")
    assert table.values.sum(0)[table.classes.index("atrial fibrillation")] == 2


def test_the_simulator_tells_its_classes() -> None:
    records = [recording(str(i), name, source="simulator") for i, name in enumerate(["normal", "af", "normal"])]
    assert tasks_of(records) == ("diagnosis",)
    table = task_table(records, "diagnosis")
    assert table.classes == ("af", "normal")
    assert table.values.argmax(1).tolist() == [1, 0, 1]


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="task 'rythm' is unknown for these records; did you mean 'rhythm'"):
        task_table([recording("a", "426783006")], "rythm")
    with pytest.raises(InputError, match="have no statements of a known source; pass a table"):
        task_table([recording("a")], "rhythm")
    with pytest.raises(InputError, match="none of 1 records has exactly one of sinus rhythm"):
        task_table([recording("a", "59118001")], "rhythm")


@pytest.mark.realdata
def test_ludb_tasks_agree_with_its_table(test_data: Path) -> None:
    records = read(test_data / "ludb", warn=False).recordings
    cells = pd.read_csv(test_data / "ludb" / "ludb.csv").fillna("").set_index("ID")
    assert tasks_of(records) == ("rhythm", "lvh", "conduction")
    rhythm = task_table(records, "rhythm")
    assert dict(zip(rhythm.classes, rhythm.values.sum(0), strict=True)) == {
        "sinus rhythm": 143, "sinus bradycardia": 25, "atrial fibrillation": 15,
    }  # fmt: skip
    assert len(set(rhythm.groups)) == len(rhythm) == 183
    for id, row in zip(rhythm.ids, rhythm.values, strict=True):
        assert rhythm.classes[row.argmax()].capitalize() in cells.loc[int(Path(id).name), "Rhythms"].splitlines()
    columns = {"lvh": ("Hypertrophies", "Left ventricular hypertrophy"), "conduction": ("Conduction abnormalities", "")}
    for name, (column, text) in columns.items():
        table = task_table(records, name)
        assert len(table) == 200
        for id, (value,) in zip(table.ids, table.values, strict=True):
            cell = cells.loc[int(Path(id).name), column]
            assert bool(value) == (text in cell and cell != "")


@pytest.mark.realdata
def test_chapman_rhythms(test_data: Path) -> None:
    table = task_table(read(test_data / "chapman", warn=False).recordings, "rhythm")
    assert len(table) == 72
    assert dict(zip(table.classes, table.values.sum(0), strict=True))["sinus bradycardia"] == 23
