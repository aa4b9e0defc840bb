"""A run that was killed and resumed equals one that was not, bit for bit."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import Cli

from anyjepa.training.checkpoints import newest_checkpoint
from anyjepa.training.logs import read_metrics

RECIPE = """
name: tiny
description: everything random is switched on
data:
  fs: 100
  duration_s: 4
  simulator: {patients: 30, fs: 100, duration_s: 6}
objective:
  encoder: {patch: [10], dim: 16, depth: 2, heads: 2, registers: 1, block: {dropout: 0.1, drop_path: 0.2}}
  predictor: {dim: 8, depth: 2, heads: 2, block: {dropout: 0.1}}
  masks: {min_span: 3}
  target: {update: UPDATE}
training:
  steps: 40
  batch_size: 8
  accumulation: 2
  precision: "32"
  log_every: 1
  checkpoint_every: 20
  monitor_every: 20
  optimiser: {warmup: 5}
"""

SLOW = """
import sys, time
from anyjepa.training.checkpoints import Checkpoints
save = Checkpoints.save
def slow(self, trainer, step):
    save(self, trainer, step)
    time.sleep(60)  # the parent kills this process here, after the checkpoint of step 20
Checkpoints.save = slow
"""


def arguments_of(folder: Path, recipe: Path, workers: int) -> list[str]:
    """What a user types after `anyjepa`."""
    return ["pretrain", str(recipe), "-o", str(folder), "--set", f"training.workers={workers}"]


def same(a: object, b: object, where: str = "") -> None:
    """Equal to the last bit, whatever is nested in what."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple))
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def without_rates(run: Path) -> list[list[str]]:
    """The cells of metrics.csv as text, without the column that says how fast it went."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    column = lines[0].index("samples_per_s")
    return [cells[:column] + cells[column + 1 :] for cells in lines]


@pytest.fixture(scope="module")
def unbroken(request: pytest.FixtureRequest, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of this process, whose teacher is updated before or after the step."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "tiny.yaml").write_text(RECIPE.replace("UPDATE", request.param))
    done = cli(*arguments_of(folder / "run", folder / "tiny.yaml", workers=0))
    assert done.code == 0, done.err
    return folder


BEFORE = pytest.mark.parametrize("unbroken", ["before"], indirect=True)


@pytest.mark.parametrize(("unbroken", "workers"), [("before", 0), ("after", 2)], indirect=["unbroken"])
def test_killed_and_resumed_equals_unbroken(cli: Cli, unbroken: Path, tmp_path: Path, workers: int) -> None:
    """Student, teacher, optimiser and the losses of steps 21 to 40, with dropout, DropPath, crops, accumulation."""
    run = tmp_path / "run"
    arguments = arguments_of(run, unbroken / "tiny.yaml", workers)
    code = f"{SLOW}\nfrom anyjepa.cli import main\nmain()"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, *arguments], stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while not (run / "checkpoints" / "step-00000020.ckpt").exists():
        assert process.poll() is None, process.communicate()[1].decode()[-2000:]
        assert time.time() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(read_metrics(run / "metrics.csv")) == 20
    with open(run / "metrics.csv", "a") as file:
        file.write("21,0.5,0.")  # a row that was cut off by the kill

    done = cli(*arguments, "--resume")
    assert done.code == 0, done.err

    whole = torch.load(unbroken / "run/checkpoints/step-00000040.ckpt", weights_only=True)
    resumed = torch.load(run / "checkpoints/step-00000040.ckpt", weights_only=True)
    names = whole["state_dict"].keys()
    assert any("student" in name for name in names)
    assert any("target" in name for name in names)
    same(whole["state_dict"], resumed["state_dict"])
    same(whole["optimizer_states"], resumed["optimizer_states"])
    assert [row["step"] for row in read_metrics(run / "metrics.csv")] == list(range(1, 41))
    assert without_rates(unbroken / "run") == without_rates(run)


@BEFORE
@pytest.mark.parametrize(
    ("workers", "to_all", "by"),
    [(2, True, signal.SIGINT), (0, False, signal.SIGTERM), (2, True, signal.SIGTERM), (2, False, signal.SIGHUP)],
)
def test_interrupted_and_resumed_equals_unbroken(
    cli: Cli, unbroken: Path, tmp_path: Path, workers: int, to_all: bool, by: signal.Signals
) -> None:
    """A terminal and Slurm signal the workers, too; docker stop only the first process. The printed command resumes."""
    run, metrics = tmp_path / "run", tmp_path / "run/metrics.csv"
    arguments = arguments_of(run, unbroken / "tiny.yaml", workers)
    command = [sys.executable, "-W", "ignore", "-m", "anyjepa", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.time() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.time() < deadline
        time.sleep(0.01)
    (os.killpg if to_all else os.kill)(process.pid, by)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + by, errors[-2000:]
    (said,) = (line for line in errors.splitlines() if not line.startswith("pretraining "))  # the progress bar
    message = re.fullmatch(rf"stopped by {by.name} after step (\d+); resume with: anyjepa (.*)", said)
    assert message is not None, said
    step = int(message[1])
    assert 3 <= step < 40
    assert newest_checkpoint(run / "checkpoints") == run / f"checkpoints/step-{step:08d}.ckpt"
    assert not (run / "model").exists()

    again = shlex.split(said.partition("resume with: anyjepa ")[2])
    assert again == [*arguments, "--resume"]
    done = cli(*again)
    assert done.code == 0, done.err

    whole = torch.load(unbroken / "run/checkpoints/step-00000040.ckpt", weights_only=True)
    resumed = torch.load(run / "checkpoints/step-00000040.ckpt", weights_only=True)
    same(whole["state_dict"], resumed["state_dict"])
    same(whole["optimizer_states"], resumed["optimizer_states"])
    assert without_rates(unbroken / "run") == without_rates(run)


@BEFORE
def test_resume_refuses_another_recipe(unbroken: Path) -> None:
    from anyjepa.errors import InputError
    from anyjepa.runs.pretrain import pretrain

    extended = r"training\.steps=40, not 80; a run cannot be extended, because its schedules end with training\.steps; "
    with pytest.raises(InputError, match=extended):
        pretrain(unbroken / "tiny.yaml", output=unbroken / "run", edits=["training.steps=80"], resume=True)
    with pytest.raises(InputError, match=r"was started with training\.seed=0, not 1"):
        pretrain(
            unbroken / "tiny.yaml",
            output=unbroken / "run",
            edits=["description=in other words", "training.seed=1", "training.workers=0"],
            resume=True,
        )


@BEFORE
def test_resume_notices_a_table_that_was_dropped(unbroken: Path, tmp_path: Path) -> None:
    from anyjepa.errors import InputError
    from anyjepa.recipes.schema import edited, load_recipe, to_yaml
    from anyjepa.runs.pretrain import pretrain

    recipe, _ = load_recipe(unbroken / "tiny.yaml")
    mixed, _ = edited(recipe, ["data.mixture={a: 0.5, b: 0.5}", "training.order=replacement"])
    (tmp_path / "recipe.yaml").write_text(to_yaml(mixed))
    with pytest.raises(InputError, match=r"was started with data\.mixture\.a=0\.5, not nothing"):
        pretrain(edited(mixed, ["data.mixture=null"])[0], output=tmp_path, resume=True)
