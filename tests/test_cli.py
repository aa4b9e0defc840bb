"""Every command as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import pty
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from safetensors.torch import load_file

import anyjepa
import anyjepa.cli
from anyjepa.cli.options import Weights
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.evaluation.result import Result
from anyjepa.objectives import base
from anyjepa.recipes.plain import recipe_names
from anyjepa.recipes.presets import preset_names
from anyjepa.recipes.schema import load_recipe
from anyjepa.training.logs import read_metrics


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with its path."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(anyjepa.cli.app)))


def shell(*arguments: object, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with its one-line warnings instead of errors."""
    command = [sys.executable, "-m", "anyjepa", *map(str, arguments)]
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


def test_help_covers_every_command():
    assert {("evaluate",), ("predict",), ("data", "prepare"), ("weights", "checkpoint")} < COMMANDS.keys()


@pytest.mark.parametrize("width", [72, 80, 100, 120, 200])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_whole_at_any_width(cli, monkeypatch, path, width):
    """No word of a help text is cut or broken over two lines."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)
    done = cli(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage:" in done.out
    assert "…" not in done.out
    assert max(map(len, done.out.splitlines())) <= width
    command = COMMANDS[path]
    texts = [command.help, *(parameter.help for parameter in command.params)]
    texts += [inner.get_short_help_str(1000) for inner in getattr(command, "commands", {}).values()]
    shown = set(done.out.replace("│", " ").split())
    for text in texts:
        assert text, "a command or an option without help"
        assert set(text.split()) <= shown


def test_a_paragraph_of_help_flows(cli, monkeypatch):
    """The line breaks of a docstring are not those of the terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)
    assert "NEPA models become folders for the official NEPA code." in cli("weights", "export", "--help").out


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""
import contextlib, io, sys
from anyjepa.cli import app
for command in {[*COMMANDS]}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app([*command, "--help"])
print({{"torch", "lightning", "sklearn", "scipy", "pandas", "matplotlib", "wfdb"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pretrian", "there is no command 'pretrian'; did you mean 'pretrain'?"),
        ("data simulate", "data: there is no command 'simulate'; see 'anyjepa data --help'"),
        ("pretrain", "pretrain: RECIPE is missing; see 'anyjepa pretrain --help'"),
        ("embed model file", "embed: --output is missing; see 'anyjepa embed --help'"),
        ("pretrain a --datta b", "pretrain: there is no option --datta; did you mean '--data'?"),
        ("pretrain a b", "pretrain: unexpected argument (b); see 'anyjepa pretrain --help'"),
        ("pretrain a --set", "--set needs a value; see 'anyjepa --help'"),
        ("perturb a.h5ad --synergy=1", "--synergy takes no value; see 'anyjepa --help'"),
        ("pretrain a --devices 0", "pretrain: --devices must be at least 1, got '0'"),
        ("evaluate a --low-shot many", "evaluate: --low-shot must be a number, got 'many'"),
        ("plot ekg a", "plot: KIND must be one of ecg, series, image, clip, embedding, got 'ekg'"),
    ],
)
def test_a_wrong_option_or_argument_is_one_line_in_our_words(cli, arguments, message):
    assert cli(*arguments.split()) == (2, "", f"anyjepa: {message}\n")


@pytest.mark.parametrize("arguments", [[], ["data"], ["weights"]])
def test_a_command_without_arguments_prints_its_help(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.err) == (2, "")
    assert "Commands" in done.out


def test_every_kind_of_weights_can_be_chosen() -> None:
    assert Weights == base.Weights


def test_version(cli):
    assert cli("--version") == (0, f"{anyjepa.__version__}\n", "")


def test_recipes_are_a_table_within_80_columns(cli):
    done = cli("recipes")
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert ["ecg-jepa-xs", "ecg", "3.6", "M", "12-lead", "ECGs"] in rows
    assert {row[0] for row in rows if row} >= {*recipe_names(), *preset_names()}
    assert max(map(len, done.out.splitlines())) <= 80


def test_the_list_of_recipes_imports_nothing_heavy():
    code = "import sys\nfrom anyjepa.cli import app\n"
    code += "app(['recipes'], standalone_mode=False)\nprint({'torch', 'lightning', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_a_missing_screen_is_refused_before_anything_heavy_is_imported():
    code = "import sys\nfrom anyjepa.cli import app\nfrom anyjepa.errors import InputError\n"
    code += "try:\n    app(['perturb', 'missing.h5ad'], standalone_mode=False)\nexcept InputError as error:\n"
    code += "    print(error, {'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "missing.h5ad: there is no such file or folder set()\n", done.stderr


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_a_printed_recipe_can_be_trained_from(cli, tmp_path, options):
    done = cli("recipes", "ecg-jepa-xs", *options)
    (tmp_path / "mine.yaml").write_text(done.out)
    assert cli("recipes", tmp_path / "mine.yaml", *options).out == done.out
    assert load_recipe(tmp_path / "mine.yaml") == load_recipe("ecg-jepa-xs")


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


@pytest.mark.parametrize("terminal", [False, True])
def test_a_training_outlives_its_terminal(tiny_recipe, tmp_path, monkeypatch, terminal):
    """Standard error may be a pipe or a terminal whose other end is gone: messages are lost, the model is not."""
    other, end = pty.openpty() if terminal else os.pipe()
    with os.fdopen(end, "w", buffering=1) as stderr:
        os.close(other)
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(sys, "argv", ["anyjepa", "pretrain", str(tiny_recipe), "--output", str(tmp_path / "run")])
        with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as exit:
            anyjepa.cli.main()
        assert sys.stderr is stderr
    assert exit.value.code == 0
    assert out.getvalue() == f"model: {tmp_path}/run/model\nreport: {tmp_path}/run/report.html\n"
    assert (tmp_path / "run/model/model.safetensors").is_file()


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
def test_a_rank_that_is_not_a_number_is_one_line(cli, monkeypatch, name):
    """Lightning would end with a traceback while it is imported."""
    monkeypatch.setenv(name, "x")
    done = cli("recipes")
    assert done.code == 2
    assert done.err == f"anyjepa: {name} is 'x' in the environment; it must be a number, or unset\n"


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
    assert "had finished" not in done.err
    assert_same_weights(run, tiny_run)
    columns = ("step", "loss", "lr")
    before, after = (read_metrics(folder / "metrics.csv") for folder in (tiny_run, run))
    assert [[row[c] for c in columns] for row in before] == [[row[c] for c in columns] for row in after]


def test_resuming_a_finished_run_changes_nothing(cli, tiny_recipe, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--resume")
    assert done.code == 0
    assert f"{tmp_path}/run: had finished its 4 steps, nothing was trained" in done.err
    assert_same_weights(tmp_path / "run", tiny_run)


def assert_same_weights(run: Path, other: Path) -> None:
    for name in ("model.safetensors", "student.safetensors"):
        weights, others = (load_file(folder / "model" / name) for folder in (run, other))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)


def test_resume_refuses_signals_that_changed_under_the_same_ids(cli, tiny_recipe, ecgs, tmp_path):
    data, run = tmp_path / "mine.npz", tmp_path / "run"
    shutil.copy(ecgs, data)
    asked = ["pretrain", tiny_recipe, "--data", data, "-o", run]
    assert cli(*asked).code == 0
    arrays = dict(np.load(data))
    np.savez(data, **arrays | {"signals": arrays["signals"][::-1]})
    done = cli(*asked, "--resume")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"{run}: the signals of {data} have changed since it was started" in done.err
    np.savez(data, **arrays)
    assert cli(*asked, "--resume").code == 0


def test_resume_takes_other_settings_that_change_no_number(cli, tiny_recipe, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "checkpoints/step-00000004.ckpt").unlink()
    edits = ["training.workers=1", "training.log_every=2", "training.checkpoint_every=3", "evaluation.seeds=2"]
    done = cli("pretrain", tiny_recipe, "-o", run, "--resume", *(word for edit in edits for word in ("--set", edit)))
    assert done.code == 0, done.err
    assert_same_weights(run, tiny_run)
    assert load_recipe(run / "recipe.yaml")[0].evaluation.seeds == 2


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"data": {"paths": [1], "records": 1, "fingerprint": ""}}', "[" * 10_000]
)
def test_a_foreign_environment_is_one_line(cli, tiny_recipe, tiny_run, tmp_path, text):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run/environment.json").write_text(text)
    for command in (["pretrain", tiny_recipe, "--resume", "-o"], ["evaluate"]):
        done = cli(*command, tmp_path / "run")
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "run/environment.json: " in done.err


@pytest.mark.parametrize("kind", ["zip", "pickle", "other keys", "other tensors", "sparse", "other step"])
def test_a_foreign_checkpoint_is_one_line_and_nothing_falls_back(cli, tiny_recipe, tiny_run, tmp_path, kind):
    run, newest = tmp_path / "run", tmp_path / "run/checkpoints/step-00000004.ckpt"
    shutil.copytree(tiny_run, run)
    saved = torch.load(newest, weights_only=True)
    if kind == "zip":
        np.savez(run / "x.npz", x=np.zeros(3))
        (run / "x.npz").rename(newest)
    elif kind == "pickle":
        newest.write_bytes(pickle.dumps(Path("x")))
    elif kind == "other keys":
        torch.save({"model": saved["state_dict"]}, newest)
    elif kind == "other tensors":
        torch.save(saved | {"state_dict": {"a": torch.zeros(2)}}, newest)
    elif kind == "sparse":
        averages = saved["optimizer_states"][0]["state"][0]
        averages["exp_avg"] = averages["exp_avg"].to_sparse()
        torch.save(saved, newest)
    else:
        shutil.copy(run / "checkpoints/step-00000002.ckpt", newest)
    done = cli("pretrain", tiny_recipe, "-o", run, "--resume")
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
    assert f"{newest}: " in done.err
    assert "delete it to resume from the checkpoint before it" in done.err
    newest.unlink()
    assert cli("pretrain", tiny_recipe, "-o", run, "--resume").code == 0


def test_one_process_trains_in_a_folder_at_a_time(cli, tiny_recipe, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); "
    hold += "input()"
    new = tmp_path / "new"
    new.mkdir()
    for folder, more in ((run, ["--resume"]), (new, [])):
        holder = subprocess.Popen(
            [sys.executable, "-c", hold, folder / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = cli("pretrain", tiny_recipe, "-o", folder, *more)
        assert (done.code, done.err) == (
            2,
            f"anyjepa: {folder}: another process is training here; wait until it finishes\n",
        )
        holder.communicate("\n")
        assert cli("pretrain", tiny_recipe, "-o", folder, *more).code == 0


def test_of_two_that_start_at_once_one_gets_the_folder(cli, tiny_recipe, tmp_path):
    """The folder is free when the recipe is checked, and taken when the data are read."""
    from anyjepa.runs import pretrain

    def taken(*arguments):
        (tmp_path / "run").mkdir()
        (tmp_path / "run/recipe.yaml").write_text("of the other process")
        return tmp_path / "run"

    with mock.patch.object(pretrain, "build_objective", taken):
        done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run")
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
    assert "run: is not empty" in done.err
    assert (tmp_path / "run/recipe.yaml").read_text() == "of the other process"


def test_the_next_command_can_be_pasted(cli, tiny_recipe, ecgs, tmp_path):
    done = cli("pretrain", tiny_recipe, "--data", ecgs, "-o", tmp_path / "my run", "--set", "data.unit=mV")
    (line,) = (line for line in done.err.splitlines() if line.startswith("next: "))
    *command, labels, table, _, id, _, target, _, group = shlex.split(line.removeprefix("next: anyjepa "))
    assert command == ["evaluate", str(tmp_path / "my run"), "--data", str(ecgs), "--unit", "mV"]
    assert (labels, table) == ("--labels", "labels.csv")
    ids = np.load(ecgs)["ids"]
    pd.DataFrame({id: ids, target: ["a", "b"] * 10, group: range(20)}).to_csv(tmp_path / table, index=False)
    done = cli(*command, labels, tmp_path / table, "--id", id, "--target", target, "--group", group)
    assert done.code == 0, done.err


def test_the_next_command_names_a_task_of_the_data(cli, tiny_recipe, tmp_path):
    records = simulate(SimulatorConfig(patients=20, fs=100, duration_s=6, seed=7))
    for number, record in enumerate(records):
        samples = (record.signal.T * 1000).round().astype("<i2")
        leads = "".join(f"r{number}.dat 16 1000/mV 16 0 0 0 0 {lead}\n" for lead in record.leads)
        rhythm = ("426783006", "164889003")[number % 2]
        header = f"r{number} 12 100 {len(samples)}\n{leads}# Dx: {rhythm}\n"
        (tmp_path / f"r{number}.hea").write_text(header)
        (tmp_path / f"r{number}.dat").write_bytes(samples.tobytes())
    done = cli("pretrain", tiny_recipe, "--data", tmp_path, "-o", tmp_path / "run")
    (line,) = (line for line in done.err.splitlines() if line.startswith("next: "))
    assert line == f"next: anyjepa evaluate {tmp_path / 'run'} --data {tmp_path} --task rhythm"


def test_an_interrupted_demo_says_how_its_training_goes_on(cli, tiny_recipe, tmp_path):
    from anyjepa.runs import demo
    from anyjepa.training.interrupt import Interrupted

    with mock.patch.object(demo, "pretrain", side_effect=Interrupted(tmp_path / "run", 3)):
        done = cli("demo", "-o", tmp_path / "run")
    again = f"anyjepa pretrain {tmp_path}/run/recipe.yaml --output {tmp_path}/run --resume"
    assert done == (130, "", f"stopped by SIGINT after step 3; resume with: {again}\n")


def test_several_machines_must_know_each_other(cli, tiny_recipe, tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    asked = ["pretrain", tiny_recipe, "-o", tmp_path / "run", "--nodes", 2]
    message = (
        "anyjepa: --nodes 2: start with torchrun or srun, or set on each machine MASTER_ADDR (the first machine), "
        "MASTER_PORT (a free port there), NODE_RANK (0 to 1)\n"
    )
    assert cli(*asked) == (2, "", message)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("NODE_RANK", "2")
    message = "anyjepa: --devices 1 x --nodes 2: NODE_RANK is 2 in the environment; it must be below 2, or unset\n"
    assert cli(*asked) == (2, "", message)
    assert not (tmp_path / "run").exists()


def test_resume_refuses_other_records(cli, tiny_recipe, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "out.txt").write_text("sim0-00000-0\n")
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--resume", "--exclude", tmp_path / "out.txt")
    assert done.code == 2
    assert "was started with other records" in done.err


def test_pretrain_does_not_touch_a_folder_in_use(cli, tiny_recipe, tiny_run):
    done = cli("pretrain", tiny_recipe, "-o", tiny_run)
    assert (done.code, done.out) == (2, "")
    advice = "pass another --output, or resume that run with pretrain --resume"
    assert done.err == f"anyjepa: {tiny_run}: is not empty; {advice}\n"


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
    assert printed["schema_version"] == 2
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
    assert "no group column, so records of one patient could be in both training and test" in done.err
    assert "pass --target, the column with the classes" in cli(*asked).err
    for grouping in (["--group", "who"], ["--split-by", "record"]):
        done = cli(*asked, "--target", "kind", *grouping, "--folds", 2, "--seeds", 1, "--min-count", 1, "--json")
        assert done.code == 0, done.err
        result = json.loads(done.out)
        assert (result["task"], result["classes"], result["records"]) == ("kind (mine)", {"a": 10, "b": 10}, 20)
    kept = tmp_path / "kept"
    asked += ["--target", "kind", "--group", "who", "--folds", 2, "--seeds", 1]
    done = cli(*asked, "--unit", "mV", "--save-classifier", kept)
    assert done.code == 0, done.err
    assert done.err.startswith("evaluating: pretrained (teacher)\n")  # no terminal could show it in place
    assert ", read as mV" in " ".join(done.out.split())
    assert ", read as mV" in (kept / "README.md").read_text()


def test_evaluations_that_differ_do_not_overwrite_each_other(cli, tiny_recipe, tiny_run, ecgs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("results"))
    ids = np.load(ecgs)["ids"]
    table = pd.DataFrame({"id": ids, "a/b": ["x", "y"] * 10, "c": ["x"] * 10 + ["y"] * 10, "who": range(20)})
    table.to_csv(tmp_path / "mine.csv", index=False)
    labels = ["--data", ecgs, "--labels", tmp_path / "mine.csv", "--folds", 2]
    differing = [
        [*labels, "--target", "a/b", "--group", "who"],
        [*labels, "--target", "c", "--group", "who"],
        [*labels, "--target", "c", "--split-by", "record"],
        [*labels[:-1], 3, "--target", "c", "--group", "who"],
        [*labels, "--target", "c", "--group", "who", "--seeds", 2],
        ["--low-shot", 1],
        [],
    ]
    for count, options in enumerate(differing, start=1):
        done = cli("evaluate", run, *options)
        assert done.code == 0, done.err
        assert len(list((run / "results").iterdir())) == count, options
    before = {path.name for path in (run / "results").iterdir()}
    assert {"linear-diagnosis.json", "linear-diagnosis-1-labels.json"} <= before
    assert sum(name.startswith("linear-c-mine-ecgs-") for name in before) == 4
    assert cli("evaluate", run, *differing[0]).code == 0
    assert {path.name for path in (run / "results").iterdir()} == before  # asked again: renewed


def test_a_model_folder_needs_data_and_a_task_must_be_known(cli, tiny_run):
    assert "a model folder needs --data" in cli("evaluate", tiny_run / "model").err
    assert "task 'diagnoses' is unknown for these records" in cli("evaluate", tiny_run, "--task", "diagnoses").err


def test_evaluate_names_a_wrong_setting(cli, tiny_run):
    done = cli("evaluate", tiny_run, "--folds", 1)
    assert (done.code, done.out) == (2, "")
    assert done.err == "anyjepa: evaluation: split.folds must be at least 2, got 1\n"


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
    assert done.out == f"{tmp_path / 'z.csv'}: 20 records, 1 skipped\n"
    assert f"skipped: {folder / 'broken.npz'}" in done.err


def test_embed_gives_a_row_per_window(cli, tiny_run, ecgs, tmp_path):
    """ECGs of 6 s; the model reads 4 s."""
    windows, whole, records = tmp_path / "windows.parquet", tmp_path / "whole.npz", tmp_path / "records.npz"
    done = cli("embed", tiny_run, ecgs, "-o", windows, "--window", 4, "--stride", 1.5, "--batch", 7, "--device", "cpu")
    assert done.code == 0, done.err
    table = pd.read_parquet(windows)
    assert table.columns[:4].tolist() == ["id", "patient", "start_s", "z0"]
    assert table["start_s"].tolist() == [0, 1.5, 2] * 20  # the last window ends with the record
    assert cli("embed", tiny_run, ecgs, "-o", whole, "--window", 4).code == 0  # half-overlapping, as for a record
    assert cli("embed", tiny_run, ecgs, "-o", records).code == 0
    mean = embeddings(whole)[1].reshape(20, 2, -1).mean(1)
    np.testing.assert_allclose(mean, embeddings(records)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", 0.25], "--window 0.25: must be a multiple of a token, 0.1 s, up to 4 s"),
        (["--window", 5], "--window 5: must be a multiple of a token, 0.1 s, up to 4 s"),
        (["--window", 4, "--stride", 0.001], "--stride 0.001: must be from one sample, 0.01 s, to one day"),
        (["--window", 4, "--stride", "inf"], "--stride inf: must be from one sample, 0.01 s, to one day"),
        (["--window", "inf"], "--window inf: must be a multiple of a token, 0.1 s, up to 4 s"),
        (["--stride", 1], "embed: --stride needs --window"),
        (["--device", "tpu"], "device 'tpu': cannot be used"),
    ],
)
def test_embed_refuses_windows_and_devices_that_it_cannot_use(cli, tiny_run, ecgs, tmp_path, options, message):
    done = cli("embed", tiny_run, ecgs, "-o", tmp_path / "z.npz", *options)
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert message in done.err


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
    assert (done.code, done.err) == (2, f"anyjepa: {tiny_run / 'model'}: is not a run folder: it has no recipe.yaml\n")


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
    assert (found["fits"], found["importer"]) == (True, "ECG-JEPA")
    done = cli("weights", "inspect", tiny_run / "model")
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["chkpt_2", "eval_attn_best_chkpt", "eval_fc_best_chkpt"])
def test_a_published_checkpoint_is_imported_and_embeds(cli, golden, ecgs, tmp_path, name):
    checkpoint, model = golden / "ecg_jepa" / f"{name}.pt", tmp_path / "model"
    assert cli("weights", "import", checkpoint, "-o", model) == (0, f"model: {model}\n", "")
    done = cli("embed", model, ecgs, "-o", tmp_path / "z.npz")
    assert done.code == 0, done.err
    assert len(embeddings(tmp_path / "z.npz")[1]) == 20


@pytest.mark.parametrize("layout", ["ijepa", "vjepa"])
def test_a_published_checkpoint_of_images_or_video_is_imported(cli, golden, tmp_path, layout):
    command = ["weights", "import", golden / layout / "jepa-latest.pth.tar", "-o", tmp_path / "model"]
    assert "--heads" in cli(*command).err
    assert cli(*command, "--heads", "4") == (0, f"model: {tmp_path / 'model'}\n", "")
    assert "which does not need --statistics" in cli(*command, "--statistics", "cpsc").err
    assert json.loads(cli("weights", "inspect", tmp_path / "model", "--json").out)["fits"]


def test_import_takes_the_constants_of_a_named_data_set(cli, golden, tmp_path):
    command = ["weights", "import", golden / "ecg_jepa/chkpt_2.pt", "-o", tmp_path / "model"]
    assert cli(*command, "--statistics", "cpsc").code == 0
    assert tuple(json.loads((tmp_path / "model/preprocessing.json").read_text())["std"]) == CATALOGUE["cpsc"].std
    assert "did you mean 'ptb-xl'?" in cli(*command, "--statistics", "ptbxl").err
    command[2] = golden / "ecg_jepa/eval_fc_best_chkpt.pt"
    assert "a classifier has its own constants" in cli(*command, "--statistics", "cpsc").err


@pytest.mark.long
def test_demo_pretrains_evaluates_and_reports(tmp_path):
    done = shell("demo", "-o", tmp_path / "run", timeout=1500)
    assert done.returncode == 0, done.stderr
    assert f"report: {tmp_path / 'run/report.html'}" in done.stdout
    results = [Result.from_json(path) for path in (tmp_path / "run/results").iterdir()]
    assert sorted(str(result.settings["low_shot"]) for result in results) == ["5", "None"]
    for result in results:
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
    assert len(list((run / "results").glob("linear-rhythm-ludb-*.json"))) == 1
    assert "TRANSDUCTIVE" in (run / "report.html").read_text()
    done = cli(*asked)
    assert "warning: 200 records: all leads span the same range" in done.err
    done = cli("evaluate", run)
    assert (
        f"warning: pretrained on {ludb}, but evaluated on the simulated data of the recipe; pass others with --data"
        in done.err
    )
    done = cli("evaluate", run / "model", "--data", ludb, "--unit", "uV")
    assert done.err == "anyjepa: evaluate: which task? choose one with --task: rhythm, lvh, conduction\n"


def test_an_argument_that_is_not_utf8_is_refused_before_anything_is_done(cli, tmp_path):
    output = tmp_path / os.fsdecode(b"M\xfcller")
    done = cli("pretrain", "ecg-jepa-demo", "-o", output)
    assert done.code == 2
    assert done.err.endswith(r"M\udcfcller: contains bytes that are not UTF-8; rename the file or folder" + "\n")
    assert not output.exists()


def test_a_run_that_died_between_its_first_files_starts_again(cli, tiny_recipe, tiny_run, tmp_path):
    """Whatever of lock, environment and recipe is there: either the same command or --resume trains to the end."""
    for number, (files, resume) in enumerate(
        [
            ([".lock"], False),
            ([".lock", "environment.json"], False),
            ([".lock", "environment.json"], True),
            (["recipe.yaml"], True),
        ]
    ):
        run = tmp_path / f"run{number}"
        run.mkdir()
        for name in files:
            shutil.copy(tiny_run / name, run)
        (run / ".anyjepa-left").mkdir()
        done = cli("pretrain", tiny_recipe, "-o", run, *(["--resume"] if resume else []))
        assert done.code == 0, done.err
        assert (run / "model/model.safetensors").read_bytes() == (tiny_run / "model/model.safetensors").read_bytes()
        assert not (run / ".anyjepa-left").exists()


def test_a_logger_that_is_not_installed_is_named_before_the_run_folder_is_made(cli, tiny_recipe, tmp_path):
    with mock.patch("anyjepa.runs.pretrain.find_spec", return_value=None):
        done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--set", "training.loggers=[wandb]")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "anyjepa: training.loggers: wandb is not installed; install it with: pip install 'anyjepa[wandb]'\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_in_a_checkpoint_is_noticed(cli, tiny_recipe, tiny_run, tmp_path, place):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    newest = run / "checkpoints/step-00000004.ckpt"
    content = bytearray(newest.read_bytes())
    content[int(place * len(content))] ^= 0x40
    newest.write_bytes(content)
    done = cli("pretrain", tiny_recipe, "-o", run, "--resume")
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
    assert "delete it to resume from the checkpoint before it" in done.err
