"""PTB-XL in its official layout, written by wfdb and pandas; label tables against the published ones."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ptbxl_miniature import write_miniature

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.reading import iterate, read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.ptbxl import PARTS
from anyjepa.data.ecg.sets.ptbxl_statements import STATEMENTS, classes_of
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.errors import InputError

CODES = (
    {"NORM": 80.0, "SR": 0.0},
    {"IMI": 35.0, "ABQRS": 0.0, "SR": 0.0},
    {"AFIB": 0.0},
    {"LVH": 100.0, "NDT": 100.0, "SBRAD": 0.0},
    {"PVC": 100.0},
    *({"ASMI": 100.0, "LMI": 15.0, "SR": 0.0} for _ in range(6)),
)


@pytest.fixture(scope="module")
def records() -> list[Recording]:
    return simulate(SimulatorConfig(patients=len(CODES), fs=500, duration_s=6, seed=1))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, records: list[Recording]) -> Path:
    return write_miniature(tmp_path_factory.mktemp("written") / "ptb-xl", records, codes=CODES)


@pytest.fixture
def folder(tmp_path: Path, written: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "ptb-xl"))


def test_a_folder_is_recognised_and_read_with_all_that_its_table_says(folder: Path, records: list[Recording]) -> None:
    found = read(folder, warn=False).recordings
    assert [r.id for r in found] == [f"ptb-xl/00000/{i:05d}" for i in range(1, len(CODES) + 1)]
    for number, (recording, made) in enumerate(zip(found, records, strict=True), 1):
        assert (recording.source, recording.fs, recording.leads) == ("ptb-xl", 500, LEADS)
        assert recording.patient == str(number)
        assert recording.likelihoods == CODES[number - 1]
        assert recording.statements == CODES[number - 1].keys()
        assert recording.split == PARTS[str(number % 10 + 1)]
        assert (recording.age, recording.sex) == (made.age, "F" if made.sex == "F" else "M")
        np.testing.assert_allclose(recording.signal, made.signal, atol=6e-4)


def test_the_rate_is_chosen_by_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    low = read(folder / "records100", warn=False).recordings
    assert {(r.fs, r.signal.shape) for r in low} == {(100, (12, 600))}
    assert [r.id for r in low] == [r.id for r in read(folder / "records500" / "00000", warn=False).recordings]
    assert low[1].patient == "2"
    monkeypatch.chdir(folder / "records100")
    assert len(read(".", warn=False).recordings) == len(low)


def test_a_data_set_is_found_in_a_folder_of_many(folder: Path) -> None:
    assert {r.source for r in iterate(folder.parent)} == {"ptb-xl"}


def test_records_are_read_when_their_turn_comes(folder: Path) -> None:
    (folder / "records500/00000/00002_hr.dat").write_bytes(b"")
    records = iterate(folder)
    assert next(records).id.endswith("1")
    with pytest.raises(InputError, match=r"00002_hr\.dat"):
        next(records)


def test_six_levels_and_one_class_each(folder: Path) -> None:
    records = read(folder, warn=False).recordings
    levels = ("all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")
    assert tasks_of(records) == (*levels, "superdiagnostic-single")
    assert [len(classes_of(level)) for level in levels] == [71, 44, 23, 5, 19, 12]
    sizes = {name: len(task_table(records, name)) for name in tasks_of(records)}
    assert sizes == {
        "all": 11, "diagnostic": 9, "subdiagnostic": 9, "superdiagnostic": 9, "form": 3, "rhythm": 10,
        "superdiagnostic-single": 8,
    }  # fmt: skip
    table = task_table(records, "superdiagnostic")
    assert table.counts() == {"NORM": 1, "MI": 7, "STTC": 1, "CD": 0, "HYP": 1}
    assert not table.exclusive
    assert table.split == tuple(r.split for r in records if r.id in table.ids)
    assert task_table(records, "superdiagnostic-single").exclusive


def change(folder: Path, do: Callable[[pd.DataFrame], object]) -> None:
    table = pd.read_csv(folder / "ptbxl_database.csv", dtype=object)
    changed = do(table)
    (table if changed is None else changed).to_csv(folder / "ptbxl_database.csv", index=False)


def cell(row: int, column: str, value: object) -> Callable[[pd.DataFrame], object]:
    def do(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return do


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda t: t.drop(columns="scp_codes"), "ptbxl_database.csv: column 'scp_codes' is missing; there are: ecg_id"),
        (lambda t: t.rename(columns={"strat_fold": "stratfold"}), "'strat_fold' is missing; did you mean 'stratfold'?"),
        (cell(3, "strat_fold", 11), r"row 4 \(ecg_id 4\): fold '11' is not 1 to 10"),
        (cell(3, "sex", 2), r"row 4: column 'sex' is '2'; it must be 0 \(male\), 1 \(female\) or empty"),
        (cell(3, "age", "old"), "row 4: column 'age' is 'old'; it must be a number of years, or empty"),
        (cell(3, "ecg_id", 1), "row 4: ecg_id '1' occurs twice"),
        (cell(3, "ecg_id", "x"), r"row 4 \(ecg_id x\): the id must be a whole number"),
        (cell(0, "scp_codes", "NORM, SR"), r"row 1 \(ecg_id 1\): scp_codes 'NORM, SR' must be as \{'NORM': 80.0"),
        (cell(0, "scp_codes", "{'NROM': 100.0}"), "statement 'NROM' is not one of PTB-XL's 71; did you mean 'NORM'?"),
        (cell(0, "filename_hr", "records500/00000/9_hr"), r"9_hr.hea: is listed in .* \(ecg_id 1\), but there is no"),
        (
            cell(0, "filename_hr", "records500/../../x"),
            r"row 1 \(ecg_id 1\): filename_hr '.*/x' is not in records500",
        ),
        (cell(0, "filename_hr", "/records500/00000/00001_hr"), "is not in records500"),
        (cell(0, "filename_hr", ""), "filename_hr '' is not in records500"),
        (cell(0, "filename_hr", f"records500/{'x' * 300}"), "but there is no such file"),
        (cell(1, "filename_hr", "records500/00000//00001_hr"), r"row 2 \(ecg_id 2\): filename_hr .* that of row 1"),
        (cell(0, "ecg_id", "9" * 5000), "the id must be a whole number"),
        (cell(0, "scp_codes", "{'NORM': -5}"), "statement 'NORM' has likelihood '-5'; it must be 0 to 100"),
        (cell(0, "scp_codes", "{'NORM': 1e999}"), "has likelihood 'inf'"),
        (cell(0, "scp_codes", "{'NORM': True}"), "has likelihood 'True'"),
        (cell(0, "scp_codes", "{'NORM': '80'}"), "has likelihood '80'"),
        (cell(0, "scp_codes", "(" * 900), "scp_codes '.*' must be as"),
        (cell(0, "scp_codes", "-" * 10**6 + "1"), "scp_codes '.*' must be as"),
        (lambda t: t.drop(index=4), r"00005_hr.hea: is not listed in ptbxl_database.csv"),
    ],
)
def test_a_broken_table_is_named(folder: Path, do: Callable[[pd.DataFrame], object], message: str) -> None:
    change(folder, do)
    with pytest.raises(InputError, match=message) as caught:
        read(folder, warn=False)
    assert "\n" not in str(caught.value)


def test_age_and_sex_may_be_empty(folder: Path) -> None:
    change(folder, lambda table: table.assign(age="", sex=""))
    assert {(r.age, r.sex) for r in read(folder, warn=False).recordings} == {(None, None)}


def test_missing_and_unlisted_files_can_be_skipped(folder: Path) -> None:
    change(folder, lambda table: table.drop(index=4))
    (folder / "records500/00000/00002_hr.hea").unlink()
    found = read(folder, on_error="skip", warn=False)
    assert len(found.recordings) == len(CODES) - 2
    assert [Path(name).name for name in found.skipped] == ["00002_hr.hea", "00005_hr.hea"]


def test_a_row_without_a_file_is_counted(folder: Path) -> None:
    change(folder, cell(1, "filename_hr", "elsewhere/00002_hr"))
    (folder / "records500/00000/00002_hr.hea").unlink()
    found = read(folder, on_error="skip", warn=False)
    assert (len(found.recordings), len(found.skipped)) == (len(CODES) - 1, 1)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_table_that_is_no_regular_file(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / "ptbxl_database.csv").unlink()
    make(folder / "ptbxl_database.csv")
    with pytest.raises(InputError, match=r"ptbxl_database.csv: is a (FIFO|folder); only regular files are read"):
        read(folder)


def test_a_rate_that_was_not_downloaded(tmp_path: Path, records: list[Recording]) -> None:
    folder = write_miniature(tmp_path, records[:1], codes=CODES[:1], rates=(100,))
    with pytest.raises(
        InputError, match=r"no folder 'records500' in this PTB-XL; pass .*records100 to read records100"
    ):
        read(folder)


@pytest.mark.realdata
def test_the_statements_are_those_of_the_release(test_data: Path) -> None:
    with (test_data / "ptbxl_labels" / "scp_statements.csv").open() as file:
        rows = {row[""]: row for row in csv.DictReader(file)}
    assert rows.keys() == STATEMENTS.keys()
    for code, row in rows.items():
        statement = STATEMENTS[code]
        assert (statement.diagnosis, statement.subdiagnosis) == (row["diagnostic_class"], row["diagnostic_subclass"])
        assert set(statement.levels) == {level for level in ("diagnostic", "form", "rhythm") if row[level]}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "file", "sizes", "counts"),
    [
        ("rhythm", "rhythm", (16832, 2100, 2098), {"SR": 16748, "AFIB": 1514, "PACE": 294, "TRIGU": 20}),
        (
            "superdiagnostic",
            "super_class",
            (17084, 2146, 2158),
            {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649},  # as published for version 1.0.3
        ),
    ],
)
def test_tables_equal_those_of_the_release(
    test_data: Path, task: str, file: str, sizes: tuple[int, ...], counts: dict[str, int]
) -> None:
    """One-hot labels, folds and patients that others derived from the real ptbxl_database.csv."""
    frames = [pd.read_csv(test_data / "ptbxl_labels" / f"ptbxl_{file}_{part}.csv") for part in ("train", "val", "test")]
    assert tuple(map(len, frames)) == sizes
    frame = pd.concat(frames)
    any_code = {name: codes[0] for name, codes in classes_of(task).items()}
    records = [
        Recording(
            f"ptb-xl/{row.ecg_id}", np.zeros((1, 1)), 500, ("I",), patient=str(int(row.patient_id)), source="ptb-xl",
            statements=frozenset(code for name, code in any_code.items() if frame_row[name]),
            split=PARTS[str(row.strat_fold)],
        )
        for row, frame_row in zip(frame.itertuples(), frame.to_dict("records"), strict=True)
    ]  # fmt: skip
    table = task_table(records, task)  # refuses patients in two parts
    assert len(table) == sum(sizes)
    assert counts.items() <= table.counts().items()
    assert table.split is not None
    assert tuple(table.split.count(part) for part in ("train", "validation", "test")) == sizes
    np.testing.assert_array_equal(table.values, frame[list(table.classes)].to_numpy())
    if task == "superdiagnostic":
        assert len(task_table(records, "superdiagnostic-single")) == (table.values.sum(1) == 1).sum() == 16244


@pytest.mark.realdata
def test_real_records_in_the_official_layout(test_data: Path, tmp_path: Path) -> None:
    real = read(test_data / "chapman", warn=False).recordings[:3]
    found = read(write_miniature(tmp_path, real, rates=(500,)), warn=False).recordings
    for recording, original in zip(found, real, strict=True):
        np.testing.assert_allclose(recording.signal, original.signal, atol=6e-4)
    assert "rhythm" in tasks_of(found)
    assert len(task_table(found, "superdiagnostic")) == 3
