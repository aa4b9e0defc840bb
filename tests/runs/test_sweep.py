"""Sweeps of tiny runs: each in its folder, resumed after a kill, with faults in the table."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import Cli
from lock_holder import held_elsewhere

import anyjepa
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.diagnostics.verdict import Finding, Verdict
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.intervals import estimate
from anyjepa.perturbation.scoring.result import HEADLINE, MethodRow, PerturbationResult
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import Run
from anyjepa.runs.labelled import LabelFile
from anyjepa.runs.sweep import Scoring, _perturbation_score
from anyjepa.runs.sweep_result import Sweep, Trial
from anyjepa.terminal import as_text
from anyjepa.training.checkpoint_files import newest_checkpoint


@pytest.fixture(scope="module")
def swept(cli: Cli, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two learning rates, one of which diverges, and two seeds, scored by nearest neighbours."""
    folder = tmp_path_factory.mktemp("sweep") / "lr"
    command = ["sweep", tiny_recipe, "--set", "training.optimiser.lr=1e30,0.001", "--set", "seed=0,1"]
    command += ["--set", "evaluation.seeds=1", "--task", "diagnosis", "--protocol", "knn", "-o", folder]
    return cli, command, folder, cli(*command)


def test_every_run_is_in_its_folder_and_a_failure_does_not_end_the_sweep(swept) -> None:
    _, _, folder, done = swept
    assert done.code == 0, done.err
    table = pd.read_csv(folder / "runs.csv")
    assert table["folder"].tolist() == [f"lr={lr},seed={seed}" for lr in ("1e+30", "0.001") for seed in (0, 1)]
    assert table["state"].tolist() == ["diverged", "diverged", "finished", "finished"]
    assert table["error"].str.contains("loss is").tolist() == [True, True, False, False]
    assert table["score"].notna().tolist() == [False, False, True, True]
    for name in table["folder"][2:]:
        assert (folder / name / "report.html").exists()
    assert "run 3 of 4: lr=0.001,seed=0" in done.err


def test_the_table_has_mean_and_interval_over_seeds_and_the_best(swept) -> None:
    _, _, folder, done = swept
    scores = pd.read_csv(folder / "runs.csv")["score"].dropna()
    row = pd.read_csv(folder / "seeds.csv").iloc[1]
    assert row["score"] == pytest.approx(scores.mean())
    mean, half = row["score"], 12.7062 * scores.std() / np.sqrt(2)  # t with one degree of freedom
    assert (row["low"], row["high"]) == pytest.approx((max(0, mean - half), min(1, mean + half)), rel=1e-4)
    assert "best by macro AUROC (knn, diagnosis): training.optimiser.lr=0.001" in done.out
    assert "diverged" in done.out
    assert (folder / "comparison.html").exists()


def test_the_same_command_leaves_finished_runs_and_repeats_no_failure(swept) -> None:
    cli, command, folder, _ = swept
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.ckpt")}
    again = cli(*command, "--json")
    assert again.code == 0, again.err
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.ckpt")} == before
    rows = json.loads(again.out)
    assert [row["state"] for row in rows] == ["diverged", "diverged", "finished", "finished"]
    assert rows[0]["loss"] is None
    assert rows[2]["training.seed"] == 0


def test_other_settings_of_the_evaluation_give_new_scores(swept) -> None:
    cli, command, folder, _ = swept
    before = pd.read_csv(folder / "runs.csv")["score"].dropna()
    done = cli(*command, "--set", "evaluation.knn.neighbours=1")
    assert done.code == 0, done.err
    assert (pd.read_csv(folder / "runs.csv")["score"].dropna() != before).all()
    assert cli(*command).code == 0
    assert pd.read_csv(folder / "runs.csv")["score"].dropna().equals(before)
    assert len(list((folder / "lr=0.001,seed=0" / "results").glob("sweep-*.json"))) == 2


def test_other_settings_or_data_in_the_same_folder_are_refused(swept, tmp_path: Path) -> None:
    cli, command, *_ = swept
    other = cli(*command, "--set", "training.steps=5")
    assert other.code == 2
    assert "was started with training.steps=4, not 5" in other.err
    data = cli(*command, "--data", tmp_path)
    assert data.code == 2
    assert f"was trained on embedded, not on {tmp_path}; pass another --output" in data.err


def test_runs_that_kept_other_records_for_testing_are_not_reused(
    swept, cli: Cli, tiny_recipe: Path, tmp_path: Path
) -> None:
    _, command, folder, _ = swept
    whole = cli(*command, "--hold-out", "0.3")
    assert whole.code == 2
    message = "was trained with another --hold-out or --split; pass another --output"
    assert f"{folder / 'lr=1e+30,seed=0'}: {message}" in whole.err
    kept = ["sweep", tiny_recipe, "--set", "seed=0,1", "-o", tmp_path / "sweep", "--hold-out"]
    assert cli(*kept, "0.3").code == cli(*kept, "0.3").code == 0
    assert message in cli(*kept, "0.2").err
    table = tmp_path / "sweep" / "seed=0" / "split.csv"
    assert message in cli(*kept[:-1], "--split", table).err


def test_a_failure_that_cannot_be_read_is_not_a_result(swept) -> None:
    cli, command, folder, _ = swept
    failure = folder / "lr=1e+30,seed=0" / "failure.txt"
    before = failure.read_text()
    failure.write_text("")
    done = cli(*command)
    failure.write_text(before)
    assert done.code == 2
    assert f"{failure}: was not written by a sweep; delete it to train again" in done.err


def test_wrong_settings_end_before_anything_is_trained(cli: Cli, tiny_recipe: Path, tmp_path: Path) -> None:
    for setting, message in (
        ("training.steps=4,many", "steps=many: training.steps must be a whole number, got 'many'"),
        ("training.stepz=4,5", "unknown key 'training.stepz'"),
        ("objective.encoder.heads=2,3", "heads=3: "),
    ):
        done = cli("sweep", tiny_recipe, "--set", setting, "-o", tmp_path / "sweep")
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1
        assert not (tmp_path / "sweep").exists()


def test_if_all_runs_fail_alike_the_error_is_that_of_the_command(cli: Cli, tiny_recipe: Path, tmp_path: Path) -> None:
    done = cli("sweep", tiny_recipe, "--set", "seed=0,1", "--data", tmp_path / "none", "-o", tmp_path / "sweep")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(f"anyjepa: {tmp_path / 'sweep'}: every run failed: ")


def trial(lr: float, seed: int, score: float | None, kind: str = "", **more: object) -> Trial:
    findings = (Finding(kind, "evidence", "advice"),) if kind else ()
    settings = {"lr": lr, "training.seed": seed}
    return Trial(Path(f"{lr}-{seed}"), settings, "finished", 0.5, score, Verdict(findings), **more)  # type: ignore[arg-type]


def test_the_best_settings_have_the_largest_mean_score_and_no_collapse(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [trial(1, 0, 0.9, "complete collapse"), trial(1, 1, 0.9), trial(2, 0, 0.5), trial(2, 1, 0.7)]
    swept = Sweep(Path("x"), (*runs, trial(3, 0, 0.55), trial(3, 1, 0.6)), "score")
    assert swept.best is not None
    assert swept.best.settings == {"lr": 2}
    monkeypatch.setenv("COLUMNS", "120")
    assert "1 of 2: complete collapse" in as_text(swept)
    unscored = Sweep(Path("x"), (trial(1, 0, None), trial(1, 1, 0.9)), "score")
    assert unscored.best is None  # one of its seeds has no score


def test_the_score_during_training_is_used_without_labels(tiny_recipe: Path, tmp_path: Path) -> None:
    online = {"training.online": [{"every": 2, "records": 40}], "training.optimiser.warmup": [1, 2]}
    result = anyjepa.sweep(tiny_recipe, online, output=tmp_path / "sweep")
    assert result.score == "online_probe"
    assert all(run.score is not None and 0 <= run.score <= 1 for run in result.runs)
    assert result.best is not None


def test_values_may_be_lists_and_null(tiny_recipe: Path, tmp_path: Path) -> None:
    edits = ["objective.masks.keep=[0.1,0.2],[0.2,0.3]", "training.online=null,{every: 2, records: 40}"]
    anyjepa.sweep(tiny_recipe, edits, output=tmp_path / "sweep")
    table = pd.read_csv(tmp_path / "sweep" / "runs.csv")
    assert table["state"].tolist() == ["finished"] * 4
    assert table["objective.masks.keep"].tolist() == ["[0.1, 0.2]"] * 2 + ["[0.2, 0.3]"] * 2


def test_cells_are_scored_by_the_perturbations_that_they_predict(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = ["sweep", "perturb-demo", "--set", "seed=0,1", "--protocol", "perturbation", "-o", tmp_path / "sweep"]
    for edit in ("training.steps=2", "training.optimiser.warmup=0", "data.hidden.steps=2", "perturbation.seeds=1"):
        command += ["--set", edit]
    done = cli(*command, "--set", "perturbation.bootstrap=2")
    assert done.code == 0, done.err
    scores = pd.read_csv(tmp_path / "sweep" / "runs.csv")["score"]
    files = sorted((tmp_path / "sweep").glob("*/perturbations/*.json"))
    rows = [json.loads(file.read_text())["rows"][0]["metrics"]["pearson_vs_mean"]["mean"] for file in files]
    assert scores.tolist() == pytest.approx(rows)
    assert "Pearson vs mean" in done.out
    refused = cli(*command, "--task", "cell_type")
    assert "--protocol perturbation needs neither --task nor --labels" in refused.err


def test_other_settings_of_perturbations_give_a_new_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[Run] = []

    def evaluate(run: Run) -> PerturbationResult:
        scored.append(run)
        metrics = {HEADLINE: estimate([len(scored) / 8])}
        row = MethodRow(name="head", control=False, fits=1, unanswered=0, scores={}, metrics=metrics, by_size={})
        about = {"data": "cells", "genes": 1, "splits": 1, "baseline": "none", "ceiling": None}
        return PerturbationResult(**about, conditions=(), rows=(row,), notices=(), environment={})

    monkeypatch.setattr("anyjepa.runs.sweep.evaluate_perturbations", evaluate)
    recipes = [load_recipe("perturb-demo", [f"perturbation.seeds={seeds}"])[0] for seeds in (1, 2)]
    runs = [Run(tmp_path, recipe) for recipe in (*recipes, *recipes)]
    assert [_perturbation_score(run) for run in runs] == [1 / 8, 2 / 8] * 2
    assert scored == runs[:2]


def test_records_are_read_for_the_score_as_for_pretraining(tiny_recipe: Path, tmp_path: Path) -> None:
    """Neither the unit nor that damaged files are skipped is in the files."""
    data, rows = tmp_path / "data", []
    data.mkdir()
    for number, ecg in enumerate(simulate(SimulatorConfig(patients=24, fs=100, duration_s=5))):
        table = pd.DataFrame(ecg.signal.T * 1000, columns=list(ecg.leads)).assign(fs=100)
        table.to_csv(data / f"{number}.csv", index=False)
        rows.append((number, number, "ab"[number % 2]))
    (data / "damaged.csv").write_text("I,II\n1\n")
    pd.DataFrame(rows, columns=["id", "patient", "class"]).to_csv(tmp_path / "labels.csv", index=False)
    labels = LabelFile(tmp_path / "labels.csv", "id", ("class",), "patient")
    settings = {"data.unit": ["uV"], "data.on_error": ["skip"], "seed": [0]}
    with pytest.warns(DataWarning, match="damaged"):
        result = anyjepa.sweep(
            tiny_recipe, settings, [data], tmp_path / "sweep", scoring=Scoring(labels=labels, protocol="knn")
        )
    assert result.runs[0].score is not None


def test_two_sweeps_do_not_share_a_folder(tiny_recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    with (
        held_elsewhere(folder / ".lock"),
        pytest.raises(InputError, match="another process is running this sweep"),
    ):
        anyjepa.sweep(tiny_recipe, ["seed=0,1"], output=folder)


@pytest.mark.long
def test_a_killed_sweep_resumes_exactly(tiny_recipe: Path, tmp_path: Path) -> None:
    """SIGKILL in the second of two runs; its weights then equal those of a sweep that was never killed."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        tiny_recipe.read_text().replace("steps: 4", "steps: 40").replace("checkpoint_every: 2", "checkpoint_every: 5")
    )

    def command(folder: Path) -> list[str]:
        settings = ["--set", "seed=0,1", "--set", "training.monitor_every=40", "-o", str(folder)]
        return [sys.executable, "-W", "ignore", "-m", "anyjepa", "sweep", str(recipe), *settings]

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.time() + 120
        while newest_checkpoint(killed / "seed=1" / "checkpoints") is None:
            assert time.time() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert not (killed / "seed=1" / "model").exists()
    before = (killed / "seed=0" / "model" / "model.safetensors").stat().st_mtime_ns
    for folder in (killed, whole):
        subprocess.run(command(folder), check=True, capture_output=True, timeout=300)
    assert (killed / "seed=0" / "model" / "model.safetensors").stat().st_mtime_ns == before
    for name in ("seed=0", "seed=1"):
        resumed, unbroken = (
            torch.load(folder / name / "checkpoints" / "step-00000040.ckpt", weights_only=True)["state_dict"]
            for folder in (killed, whole)
        )
        assert all(torch.equal(resumed[key], unbroken[key]) for key in unbroken)
    assert pd.read_csv(killed / "runs.csv").equals(pd.read_csv(whole / "runs.csv"))


@pytest.mark.long
def test_the_commands_of_the_page_work_on_short_runs(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of docs/diagnostics.md that watch, compare and sweep, with fewer steps and pictures."""
    page = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text().partition("## Watch, compare, sweep")[2]
    lines = [line.partition("#")[0] for line in page.splitlines() if line.startswith("anyjepa ")]
    watch, serve, compare, sweep = (shlex.split(line)[1:] for line in lines)
    monkeypatch.chdir(tmp_path)
    brief = [
        "training.steps=2",
        "training.optimiser.warmup=0",
        "data.simulator.train=100",
        "data.simulator.test=100",
        "evaluation.seeds=1",
    ]
    done = cli(*sweep, *(word for edit in brief for word in ("--set", edit)))
    assert done.code == 0, done.err
    folder = Path("runs/ijepa-demo-sweep")
    assert len(list(folder.glob("lr=*,seed=*/report.html"))) == 9
    assert pd.read_csv(folder / "runs.csv")["score"].between(0, 1).all()
    (folder / "lr=0.001,seed=0").rename("runs/first")
    (folder / "lr=0.001,seed=1").rename("runs/second")
    assert cli(*watch).out.count("finished") == 2
    assert "training.seed" in cli(*compare).out
    assert serve == ["watch", "runs", "--serve", "--port", "8600"]  # tests/report/test_live.py serves
