"""Every command as a user types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import anyjepa
from anyjepa.data.ecg.simulator import SimulatorConfig, simulate
from anyjepa.evaluation.result import Result
from anyjepa.training.logs import read_metrics

COMMANDS = [
    [], ["demo"], ["recipes"], ["pretrain"], ["evaluate"], ["embed"], ["report"],
    ["data"], ["data", "inspect"], ["weights"], ["weights", "inspect"], ["weights", "import"],
]  # fmt: skip


def shell(*arguments: object, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with its one-line warnings instead of errors."""
    command = [sys.executable, "-m", "anyjepa.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def ecgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty simulated ECGs as a file of arrays."""
    path = tmp_path_factory.mktemp("ecgs") / "ecgs.npz"
    save(path, np.arange(12))
    return path


def save(path: Path, order: np.ndarray, unit: str = "mV") -> None:
    """Leads in the given order, and the voltages in the given unit."""
    records = simulate(SimulatorConfig(patients=20, fs=100, duration_s=6, seed=7))
    signals = np.stack([r.signal for r in records])[:, order].astype(np.float64) * {"mV": 1, "uV": 1000}[unit]
    leads = np.array(records[0].leads)[order]
    np.savez(path, signals=signals, fs=100, leads=leads, unit=unit, ids=[r.id for r in records])


# --- help, version, recipes


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command(cli, command):
    done = cli(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage:" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""
import contextlib, io, sys
from anyjepa.cli import app
for command in {COMMANDS}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app([*command, "--help"])
print({{"torch", "lightning", "sklearn", "scipy", "pandas", "matplotlib", "wfdb"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr


def test_version(cli):
    assert cli("--version") == (0, f"{anyjepa.__version__}\n", "")


def test_recipes_are_listed_within_80_columns(cli):
    done = cli("recipes")
    assert done.code == 0
    for name in ("ecg-jepa-demo", "ecg-jepa-xs", "ecg-jepa-s", "ecg-jepa-b"):
        assert name in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_a_printed_recipe_can_be_trained_from(cli, tmp_path):
    done = cli("recipes", "ecg-jepa-xs")
    (tmp_path / "mine.yaml").write_text(done.out)
    assert cli("recipes", tmp_path / "mine.yaml").out == done.out


def test_an_unknown_recipe_is_one_line(cli):
    message = "anyjepa: there is no recipe 'ecg-jepa-dem'; did you mean 'ecg-jepa-demo'?\n"
    assert cli("recipes", "ecg-jepa-dem") == (2, "", message)


# --- pretrain


def test_pretrain_leaves_a_whole_run_folder(tiny_run):
    names = {path.name for path in tiny_run.iterdir()}
    assert names >= {"recipe.yaml", "environment.json", "checkpoints", "metrics.csv", "model", "report.html"}
    environment = json.loads((tiny_run / "environment.json").read_text())
    assert environment["data"]["paths"] == ["embedded"]
    assert 28 <= environment["data"]["records"] <= 33  # the training patients alone
    assert environment["command"].startswith("anyjepa pretrain")
    assert [row["step"] for row in read_metrics(tiny_run / "metrics.csv")] == [1, 2, 3, 4]
    assert "tiny" in (tiny_run / "report.html").read_text()


def test_set_changes_the_recipe_and_a_notice_says_what_it_drops(cli, tiny_recipe, tmp_path):
    done = cli(
        "pretrain", tiny_recipe, "-o", tmp_path / "run", "--set", "training.steps=2", "--set",
        "training.optimiser.warmup=1", "--set", "objective.distance.kind=l2", "--precision", "bf16",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "notice: objective.distance.kind=l2 drops beta" in done.err
    assert f"next: anyjepa evaluate {tmp_path / 'run'}" in done.err
    assert f"model: {tmp_path / 'run/model'}\nreport: {tmp_path / 'run/report.html'}\n" == done.out
    recipe = cli("recipes", tmp_path / "run/recipe.yaml").out
    assert "steps: 2" in recipe
    assert "kind: l2" in recipe
    assert "precision: bf16" in recipe


def test_resume_goes_on_from_the_newest_checkpoint(cli, tiny_recipe, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "checkpoints/step-00000004.ckpt").unlink()
    shutil.rmtree(run / "model")
    done = cli("pretrain", tiny_recipe, "-o", run, "--resume")
    assert done.code == 0, done.err
    assert_same_weights(run, tiny_run)
    columns = ("step", "loss", "lr")
    before, after = (read_metrics(folder / "metrics.csv") for folder in (tiny_run, run))
    assert [[row[c] for c in columns] for row in before] == [[row[c] for c in columns] for row in after]


def test_resuming_a_finished_run_changes_nothing(cli, tiny_recipe, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    assert cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--resume").code == 0
    assert_same_weights(tmp_path / "run", tiny_run)


def assert_same_weights(run: Path, other: Path) -> None:
    for name in ("model.safetensors", "student.safetensors"):
        weights, others = (load_file(folder / "model" / name) for folder in (run, other))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)


def test_resume_refuses_other_records(cli, tiny_recipe, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "out.txt").write_text("sim0-00000-0\n")
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--resume", "--exclude", tmp_path / "out.txt")
    assert done.code == 2
    assert "was started on other records" in done.err


def test_pretrain_does_not_touch_a_folder_in_use(cli, tiny_recipe, tiny_run):
    done = cli("pretrain", tiny_recipe, "-o", tiny_run)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"anyjepa: {tiny_run}: is not empty; give another --output, or --resume to go on with that run\n"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("objective.encoder.heads=3", "recipe tiny: width 16 is not a multiple of 3 heads"),
        ("objective.encoder.patch=[7]", "input of (400,) samples is not a positive multiple of the patch (7,)"),
        ("training.batch_size=9", "training.batch_size 9 is not a multiple of 2 (accumulation x devices x nodes)"),
        ("data.duration_s=20", "no usable record among 33: record 'sim0-00000-0': 6 s long, a crop needs 20 s"),
        ("training.steps", "--set training.steps: write it as key=value, e.g. training.steps=1000"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_line_and_leaves_no_folder(cli, tiny_recipe, tmp_path, edit, message):
    devices = ["--devices", 2] if "batch_size" in edit else []
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--set", edit, *devices)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_diverged_training_names_step_and_records_and_exits_with_1(cli, tiny_recipe, tmp_path):
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--set", "training.optimiser.lr=1e30")
    assert done.code == 1
    (message,) = (line for line in done.err.splitlines() if not line.startswith("pretraining "))
    assert message.startswith("anyjepa: the loss is nan at step ")
    assert "its records: sim0-000" in message
    assert not (tmp_path / "run/model").exists()


# --- evaluate


@pytest.mark.parametrize("protocol", ["linear", "knn", "attentive", "finetune", "supervised"])
def test_evaluate_prints_json_that_the_schema_reads(cli, tiny_run, protocol):
    done = cli("evaluate", tiny_run, "--protocol", protocol, "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert printed["schema_version"] == 1
    assert Result.from_json(tiny_run / "results" / f"{protocol}-diagnosis.json") == Result.model_validate(printed)
    assert printed["protocol"] == protocol
    assert printed["records"] == 44
    names = [row["name"] for row in printed["rows"]]
    assert any("raw" in name for name in names)
    assert any(("random" if protocol in ("linear", "knn", "attentive") else "scratch") in name for name in names)


def test_evaluate_prints_a_table_within_80_columns_and_renews_the_report(cli, tiny_run):
    (tiny_run / "report.html").unlink()
    done = cli("evaluate", tiny_run, "--weights", "student", "--low-shot", "1")
    assert done.code == 0, done.err
    assert "pretrained" in done.out
    assert "(student)" in done.out
    assert "macro" in done.out
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    assert (tiny_run / "results/linear-diagnosis-1-labels-student.json").exists()
    assert "linear" in (tiny_run / "report.html").read_text()


def test_evaluate_with_a_table_of_labels(cli, tiny_run, ecgs, tmp_path):
    ids = np.load(ecgs)["ids"]
    table = pd.DataFrame({"name": ids, "kind": ["a", "b"] * 10, "who": [f"p{i}" for i in range(20)]})
    table.to_csv(tmp_path / "mine.csv", index=False)
    asked = ["evaluate", tiny_run / "model", "--data", ecgs, "--labels", tmp_path / "mine.csv", "--id", "name"]
    done = cli(*asked, "--target", "kind")
    assert done.code == 2
    assert "no group column: records of one patient could be in training and test" in done.err
    assert "say which column holds the classes by --target" in cli(*asked).err
    for grouping in (["--group", "who"], ["--split-by", "record"]):
        done = cli(*asked, "--target", "kind", *grouping, "--folds", 2, "--seeds", 1, "--min-count", 1, "--json")
        assert done.code == 0, done.err
        result = json.loads(done.out)
        assert (result["task"], result["classes"], result["records"]) == ("mine", {"a": 10, "b": 10}, 20)


def test_a_model_folder_needs_data_and_a_task_must_be_known(cli, tiny_run):
    assert "a model folder needs --data" in cli("evaluate", tiny_run / "model").err
    assert "task 'diagnoses' is unknown for these records" in cli("evaluate", tiny_run, "--task", "diagnoses").err


def test_evaluate_names_a_wrong_setting(cli, tiny_run):
    done = cli("evaluate", tiny_run, "--folds", 1)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("anyjepa: evaluation.split.folds.folds: ")


# --- embed


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_embed_writes_ids_and_vectors(cli, tiny_run, ecgs, tmp_path, suffix):
    output = tmp_path / "new" / f"z{suffix}"
    done = cli("embed", tiny_run, ecgs, "-o", output)
    assert done == (0, f"{output}: 20 records\n", done.err)
    ids, vectors = embeddings(output)
    assert ids == np.load(ecgs)["ids"].tolist()
    assert vectors.shape == (20, 16)
    assert np.isfinite(vectors).all()
    first = output.read_bytes()
    assert cli("embed", tiny_run, ecgs, "-o", output).code == 0
    if suffix != ".npz":  # a zip file holds the time
        assert output.read_bytes() == first
    assert np.array_equal(embeddings(output)[1], vectors)
    assert not list(output.parent.glob(".*"))


def test_embed_depends_on_neither_lead_order_nor_unit(cli, tiny_run, ecgs, tmp_path):
    save(tmp_path / "turned.npz", np.arange(12)[::-1], unit="uV")
    for path, name in ((ecgs, "a.npz"), (tmp_path / "turned.npz", "b.npz")):
        assert cli("embed", tiny_run, path, "-o", tmp_path / name).code == 0
    np.testing.assert_allclose(embeddings(tmp_path / "a.npz")[1], embeddings(tmp_path / "b.npz")[1], atol=1e-5)


def test_embed_skips_only_when_told_to(cli, tiny_run, ecgs, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(ecgs, folder)
    (folder / "broken.npz").write_text("no arrays")
    done = cli("embed", tiny_run, folder, "-o", tmp_path / "z.csv")
    assert (done.code, done.out) == (2, "")
    assert "broken.npz: cannot be read as NumPy arrays" in done.err
    done = cli("embed", tiny_run, folder, "-o", tmp_path / "z.csv", "--skip-errors")
    assert done.code == 0
    assert done.out == f"{tmp_path / 'z.csv'}: 20 records, 1 left out\n"
    assert f"skipped: {folder / 'broken.npz'}" in done.err


def embeddings(path: Path) -> tuple[list[str], np.ndarray]:
    if path.suffix == ".npz":
        arrays = np.load(path)
        return arrays["id"].tolist(), arrays["embedding"]
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    return table["id"].tolist(), table.filter(regex=r"^z\d+$").to_numpy()


# --- report, data, weights, demo


def test_report_is_written_anew(cli, tiny_run):
    (tiny_run / "report.html").unlink()
    assert cli("report", tiny_run) == (0, f"{tiny_run / 'report.html'}\n", "")
    assert (tiny_run / "report.html").stat().st_size > 10_000
    done = cli("report", tiny_run / "model")
    assert (done.code, done.err) == (2, f"anyjepa: {tiny_run / 'model'}: is no run folder, it has no recipe.yaml\n")


def test_data_inspect(cli, ecgs):
    found = json.loads(cli("data", "inspect", ecgs, "--json").out)
    assert (found["records"], found["fs_hz"]) == (20, {"100": 20})
    done = cli("data", "inspect", ecgs)
    assert "records" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_weights_inspect(cli, tiny_run, golden):
    found = json.loads(cli("weights", "inspect", tiny_run / "model", "--json").out)
    assert (found["fits"], found["step"], found["provenance"]["recipe"]) == (True, 4, "tiny")
    found = json.loads(cli("weights", "inspect", golden / "ecg_jepa/chkpt_2.pt", "--json").out)
    assert (found["fits"], found["importer"]) == (True, "ecg-jepa")
    done = cli("weights", "inspect", tiny_run / "model")
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["chkpt_2", "eval_attn_best_chkpt", "eval_fc_best_chkpt"])
def test_a_published_checkpoint_is_imported_and_embeds(cli, golden, ecgs, tmp_path, name):
    checkpoint, model = golden / "ecg_jepa" / f"{name}.pt", tmp_path / "model"
    assert "did you mean 'ecg-jepa'?" in cli("weights", "import", "ecgjepa", checkpoint, "-o", model).err
    assert cli("weights", "import", "ecg-jepa", checkpoint, "-o", model) == (0, f"model: {model}\n", "")
    done = cli("embed", model, ecgs, "-o", tmp_path / "z.npz")
    assert done.code == 0, done.err
    assert len(embeddings(tmp_path / "z.npz")[1]) == 20


@pytest.mark.long
def test_demo_pretrains_judges_and_reports(tmp_path):
    done = shell("demo", "-o", tmp_path / "run", timeout=1500)
    assert done.returncode == 0, done.stderr
    assert f"report: {tmp_path / 'run/report.html'}" in done.stdout
    results = {path.name: Result.from_json(path) for path in (tmp_path / "run/results").iterdir()}
    assert set(results) == {"linear-diagnosis.json", "linear-diagnosis-5-labels.json"}
    for result in results.values():
        assert not result.notices  # the test patients were not trained on
        assert any("random" in row.name for row in result.rows)


# --- real files


@pytest.mark.realdata
@pytest.mark.parametrize(("source", "records"), [("ludb", 200), ("chapman", 86), ("cpsc2018", 15), ("mitdb", 48)])
def test_inspect_counts_real_records(cli, test_data, source, records):
    assert json.loads(cli("data", "inspect", test_data / source, "--json").out)["records"] == records


@pytest.mark.realdata
def test_from_real_files_to_a_report(cli, tiny_recipe, test_data, tmp_path):
    """LUDB's headers scale every lead to 1 mV peak to peak; read as uV its leads obey Einthoven's law."""
    run, ludb = tmp_path / "run", test_data / "ludb"
    done = cli("pretrain", tiny_recipe, "--data", ludb, "-o", run, "--set", "data.unit=uV")
    assert done.code == 0, done.err
    assert "warning:" not in done.err
    asked = ["evaluate", run, "--data", ludb, "--task", "rhythm", "--folds", 5, "--min-count", 10]
    done = cli(*asked, "--unit", "uV", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert set(result["classes"]) == {"sinus rhythm", "sinus bradycardia", "atrial fibrillation"}
    assert len(result["rows"][0]["repeats"]) == 5
    assert result["notices"][0].startswith("pretrained (teacher): TRANSDUCTIVE: pretraining saw")
    assert (run / "results/linear-rhythm-ludb.json").exists()
    assert "TRANSDUCTIVE" in (run / "report.html").read_text()
    done = cli(*asked)
    assert "warning: 200 records: all leads span the same range" in done.err
    done = cli("evaluate", run)
    assert f"warning: pretrained on {ludb}, but judged on simulated ECGs; --data names others" in done.err
    done = cli("evaluate", run / "model", "--data", ludb, "--unit", "uV")
    assert done.err == "anyjepa: evaluate: which task? choose one by --task: rhythm, lvh, conduction\n"
