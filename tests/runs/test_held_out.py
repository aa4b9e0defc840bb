"""A fair flow: what pretraining keeps for testing, evaluation tests on by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import anyjepa
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.split_files import read_split
from anyjepa.errors import InputError

RECORDS = [r for seed in (7, 8) for r in simulate(SimulatorConfig(patients=20, fs=100, duration_s=6, seed=seed))]
IDS = [str(number) for number in range(len(RECORDS))]  # two of each of 20 patients
PATIENTS = [f"p{number % 20}" for number in range(len(RECORDS))]
CLASSES = ["ab"[number % 2] for number in range(len(RECORDS))]


@pytest.fixture(scope="module")
def ecgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ecgs") / "ecgs.npz"
    save(path, patients=PATIENTS)
    return path


def save(path: Path, **more) -> None:
    signals = np.stack([record.signal for record in RECORDS])
    np.savez(path, signals=signals, fs=100, leads=np.array(RECORDS[0].leads), unit="mV", ids=IDS, **more)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    pd.DataFrame({"id": IDS, "class": CLASSES, "patient": PATIENTS}).to_csv(path, index=False)
    return path


def results_of(run: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in (run / "results").glob("*.json")]


def test_hold_out_then_evaluate(cli, tiny_recipe, ecgs, labels, tmp_path):
    run = tmp_path / "run"
    done = cli("pretrain", tiny_recipe, "--data", ecgs, "-o", run, "--hold-out", 0.2)
    assert done.code == 0, done.err
    assert "notice: all records were trained on" not in done.err
    split = read_split(run / "split.csv")
    assert [(split.split or ()).count(part) for part in ("train", "test")] == [32, 8]
    done = cli("evaluate", run, "--data", ecgs, "--labels", labels, "--target", "class", "--group", "patient")
    assert done.code == 0, done.err
    (result,) = results_of(run)
    assert result["notices"] == []  # pretraining saw none
    assert result["parts"]["records"][2] == 8
    assert "TRANSDUCTIVE" not in done.out
    done = cli(
        "evaluate", run, "--data", ecgs, "--labels", labels, "--target", "class", "--group", "patient", "--folds", 2
    )
    assert done.code == 0, done.err
    assert any("TRANSDUCTIVE" in notice for result in results_of(run) for notice in result["notices"])
    (run / "checkpoints/step-00000004.ckpt").unlink()
    shutil.rmtree(run / "model")
    done = cli("pretrain", tiny_recipe, "--data", ecgs, "-o", run, "--resume")  # without --hold-out
    assert done.code == 0, done.err


def test_a_table_is_split_where_the_data_name_no_patient(cli, tiny_recipe, labels, tmp_path):
    save(tmp_path / "ecgs.npz")
    run, split = tmp_path / "run", tmp_path / "split.csv"
    data = ["--data", tmp_path / "ecgs.npz", "-o", run]
    done = cli("pretrain", tiny_recipe, *data, "--hold-out", 0.2)
    assert done.code == 2
    assert "the data do not name the patient of every record; list the patients in a table, and split it" in done.err
    done = cli("data", "split", labels, "--target", "class", "--group", "patient", "--seed", 1, "-o", split)
    assert (done.code, done.out) == (0, f"{split}: 32 records for training, 8 for testing\n"), done.err
    done = cli("pretrain", tiny_recipe, *data, "--split", split)
    assert done.code == 0, done.err
    assert json.loads((run / "environment.json").read_text())["data"]["records"] == 32
    done = cli("evaluate", run, *data[:2], "--labels", labels, "--target", "class", "--group", "patient")
    assert done.code == 0, done.err
    (result,) = results_of(run)
    assert (result["notices"], result["parts"]["groups"][2]) == ([], 4)


def test_the_labels_are_not_overwritten(cli, labels):
    before = labels.read_text()
    done = cli("data", "split", labels, "--target", "class", "--group", "patient", "-o", labels)
    assert (done.code, labels.read_text()) == (2, before)
    assert "is the table of labels; choose another output" in done.err


def test_without_a_test_part_pretraining_says_so(cli, tiny_recipe, ecgs, tmp_path):
    done = cli("pretrain", tiny_recipe, "--data", ecgs, "-o", tmp_path / "run", "--unit", "mV")
    assert "notice: all records were trained on; --hold-out 0.2 keeps a part to test on" in done.err
    assert "unit: mV" in (tmp_path / "run/recipe.yaml").read_text()


def test_records_in_memory_need_ids(tiny_recipe, tmp_path):
    signals = np.stack([record.signal for record in RECORDS])
    how = {"fs": 100, "leads": RECORDS[0].leads, "hold_out": 0.2}
    with pytest.raises(InputError, match="ids: pass the ids of the records"):
        anyjepa.pretrain(tiny_recipe, signals, tmp_path / "run", groups=PATIENTS, **how)
    run = anyjepa.pretrain(tiny_recipe, signals, tmp_path / "run", groups=PATIENTS, ids=IDS, **how)
    about = {"fs": 100, "leads": RECORDS[0].leads, "ids": IDS}
    result = anyjepa.evaluate(run, signals, labels=CLASSES, groups=PATIENTS, **about)
    assert (result.notices, result.parts.records[2]) == ((), 8)
