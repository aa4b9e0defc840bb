"""From a data set's folder to a result: PTB-XL's split is kept in pretraining and in evaluation; beats of MIT-BIH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ptbxl_miniature import write_miniature
from wfdb_writing import write_annotations, write_record

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.source import find_recordings
from anyjepa.errors import InputError
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.pretrain import pretrain

if TYPE_CHECKING:
    from commands import Cli

CODES = ({"NORM": 100.0, "SR": 0.0}, {"IMI": 100.0, "SR": 0.0})


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty patients in ten folds, normal and infarction in turns of ten."""
    records = simulate(SimulatorConfig(patients=40, fs=100, duration_s=6))
    codes = [CODES[patient // 10 % 2] for patient in range(40)]
    folder = tmp_path_factory.mktemp("ptb-xl")
    return write_miniature(folder, records, codes=codes, patients=range(40), rates=(100,))


def test_pretraining_takes_the_training_part_of_a_published_split(ptbxl: Path) -> None:
    found = find_recordings(EcgDataConfig(), [ptbxl / "records100"], part="train")
    assert {r.split for r in found.recordings} == {"train"}
    assert (len(found.recordings), len(found.skipped)) == (32, 8)
    assert "part of its source; data.part=all takes every part" in next(iter(found.skipped.values()))
    everything = find_recordings(EcgDataConfig(part="all"), [ptbxl / "records100"], part="train")
    assert (len(everything.recordings), everything.skipped) == (40, {})


def test_without_a_training_part_nothing_is_left(tmp_path: Path) -> None:
    records = simulate(SimulatorConfig(patients=1, fs=100, duration_s=6))
    folder = write_miniature(tmp_path, records, codes=CODES[:1], patients=[9], rates=(500,))
    with pytest.raises(InputError, match=r"no record is left to train on; the first: .*is in the test part"):
        find_recordings(EcgDataConfig(), [folder], part="train")


def test_pretraining_and_evaluation_on_ptb_xl(ptbxl: Path, tmp_path: Path, tiny_recipe: Path, cli: Cli) -> None:
    data = ptbxl / "records100"
    done = cli("pretrain", tiny_recipe, "--data", data, "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert "skipped 8 records" in done.err
    done = cli("evaluate", tmp_path / "run", "--data", data, "--task", "superdiagnostic-single", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["classes"] == {"NORM": 20, "MI": 20}
    assert "TRANSDUCTIVE" not in done.out + done.err


def test_an_unknown_task_names_those_there_are(ptbxl: Path, tiny_run: Path, cli: Cli) -> None:
    done = cli("evaluate", tiny_run, "--data", ptbxl / "records100", "--task", "superdiagnostics")
    assert (done.code, "did you mean 'superdiagnostic'?" in done.err) == (2, True)


def test_a_patient_is_known_again_by_another_record(tmp_path: Path, tiny_recipe: Path) -> None:
    """MIT-BIH's 201 and 202 are one person; the groups of 'beats-published' are records."""
    rng = np.random.default_rng(0)
    beats = range(200, 3500, 200)
    for name in ("100", "101", "201", "202"):
        write_record(tmp_path / "mitdb" / name, rng.normal(size=(1, 3600)), 360, ["MLII"])
        write_annotations(tmp_path / "mitdb" / f"{name}.atr", beats, ["NV"[beat % 400 // 200] for beat in beats])
    others = [f"mit-bih/{name}" for name in ("100", "101", "202")]
    edits = ["data.part=all", "data.leads=[II]", "training.batch_size=1"]
    run = pretrain(tiny_recipe, tmp_path / "mitdb", tmp_path / "run", exclude=others, edits=edits)
    halves = {"split": {"kind": "fixed", "validation": 0.5}}
    result = evaluate(run, tmp_path / "mitdb", task="beats-published", settings=halves)
    assert f"TRANSDUCTIVE: pretraining saw {len(beats)} of {2 * len(beats)} test records" in result.notices[0]


@pytest.mark.realdata
def test_evaluation_beats_of_mit_bih(test_data: Path, tmp_path: Path, tiny_recipe: Path, cli: Cli) -> None:
    for name in ("101", "106", "112", "114", "119", "200"):
        for suffix in ("hea", "dat", "atr"):
            (tmp_path / f"{name}.{suffix}").symlink_to(test_data / "mitdb" / f"{name}.{suffix}")
    run = tmp_path / "run"
    done = cli("pretrain", tiny_recipe, "--data", tmp_path, "-o", run, "--set", "data.leads=[II]")
    assert done.code == 0, done.err
    done = cli("evaluate", run, "--data", tmp_path, "--task", "beats", "--min-count", 20, "--json")
    assert done.code == 0, done.err
    assert list(json.loads(done.out)["classes"]) == ["N", "S", "V"]


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")  # flat leads and a wrong unit among them
def test_the_commands_for_the_published_table_run_on_a_small_ptb_xl(test_data: Path, tmp_path: Path, cli: Cli) -> None:
    """docs/evaluation.md: the network and the protocols as published, on real records, cut to a few steps."""
    real = [r for r in read(test_data / "chapman", on_error="skip", warn=False).recordings if r.duration_s == 10]
    folder = write_miniature(tmp_path / "ptb-xl", real[:60])
    run = tmp_path / "run"
    short = ["training.steps=2", "training.batch_size=4", "training.optimiser.warmup=1", "training.workers=0"]
    done = cli("pretrain", "ecg-jepa-xs", "--data", folder, "-o", run, *(a for s in short for a in ("--set", s)))
    assert done.code == 0, done.err
    few = {"steps": 2, "batch": 8, "validate_every": 1}
    for protocol, key in (("ecg-linear", "attentive"), ("ecg-finetune", "finetune")):
        settings = {key: {"fit": few}, "min_count": 1, "seeds": 1}
        result = evaluate(run, folder, task="all", protocol=protocol, settings=settings)
        assert (result.preset, result.protocol) == (f"{protocol}, changed", key)
        assert result.settings["windows"]["length"] == 1250
        assert result.settings["windows"]["stride"] == 625
        assert "macro_auroc" in result.rows[0].metrics
