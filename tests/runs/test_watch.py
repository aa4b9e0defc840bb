"""Runs are followed by what is in their folders, whatever happens to them."""

from __future__ import annotations

import math
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Cli
from lock_holder import held_elsewhere

from anyjepa.locking import held
from anyjepa.runs.watch import RunStatus, Watch, sparkline
from anyjepa.terminal import as_text

HEADER = "step,loss,lr,input_std,input_mean,teacher_spread,teacher_token_rank,samples_per_s\n"
RECIPE = "objective: {encoder: {dim: 16}}\ntraining:\n  steps: 200\n  batch_size: 8\n"
HEALTHY = "1,0.01,0.6,12,80"


def folder_of(parent: Path, rows: str = "", name: str = "run", saved: int | None = None, model: bool = False) -> Path:
    """A run folder with these rows, a checkpoint after `saved` steps, and a model."""
    folder = parent / name
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    if rows:
        (folder / "metrics.csv").write_text(HEADER + rows)
    if saved is not None:
        (folder / "checkpoints" / f"step-{saved:08d}.ckpt").touch()
    if model:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").touch()
    return folder


def look(folder: Path) -> RunStatus:
    (run,) = Watch([folder]).look().runs
    return run


@pytest.mark.parametrize(
    ("state", "note", "what"),
    [
        ("waiting", "training has not begun", {}),
        ("finished", "", {"rows": f"200,0.5,0.001,{HEALTHY}\n", "saved": 200, "model": True}),
        ("stopped", "can be resumed from step 25", {"rows": f"20,0.5,0.001,{HEALTHY}\n", "saved": 25}),
        ("killed or failed", "can be resumed from step 10", {"rows": f"20,0.5,0.001,{HEALTHY}\n", "saved": 10}),
        ("killed or failed", "before the first checkpoint", {"rows": f"20,0.5,0.001,{HEALTHY}\n"}),
        ("diverged", "the loss is not finite", {"rows": f"20,nan,0.001,{HEALTHY}\n", "saved": 10}),
    ],
)
def test_the_state_follows_from_the_folder(tmp_path: Path, state: str, note: str, what: dict[str, object]) -> None:
    run = look(folder_of(tmp_path, **what))  # type: ignore[arg-type]
    assert (run.state, run.note) == (state, note)


def test_a_run_that_stopped_because_it_collapsed_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "".join(f"{step},0.1,0.001,1,0,0.001,2,80\n" for step in (50, 60, 70)), saved=50)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("training:\n", "training:\n  stop_when_collapsed: true\n"))
    run = look(folder)
    assert run.state == "collapsed"
    assert "complete collapse since step 50" in run.words["verdict"]


def test_the_time_left_is_that_of_the_remaining_steps_at_the_newest_speed(tmp_path: Path) -> None:
    speeds = (1, 1, 16, 16, 20)  # the median counts: 16 samples per second are 2 steps
    rows = [f"{step},{1 / step},0.001,1,0.01,0.6,12,{speed}" for step, speed in enumerate(speeds, 1)]
    folder = folder_of(tmp_path, "\n".join(rows) + "\n6,0.1,0.00")  # the last row is being written
    lock = folder / ".lock"
    with held_elsewhere(lock):
        assert held(lock)
        run = look(folder)
        assert held(lock)  # looking does not release it
    assert (run.state, run.step, run.steps, run.speed) == ("training", 5, 200, 16)
    assert run.left_s == pytest.approx(195 / 2)
    assert run.words["time left"] == "2 min"
    assert run.curves["loss"].values == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert list(run.curves) == ["loss", "teacher_spread", "teacher_token_rank"]
    assert not run.verdict.measured  # too early to say
    assert not held(lock)
    assert not held(tmp_path / "nothing")


def test_a_log_that_is_written_in_two_pieces_is_read_when_it_is_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    watch, row = Watch([folder]), f"1,0.5,0.001,{HEALTHY}\n"
    steps = []
    for end in range(0, len(HEADER + row) + 1, 7):
        (folder / "metrics.csv").write_text((HEADER + row)[:end])
        steps.append(watch.look().runs[0].step)
    (folder / "metrics.csv").write_text(HEADER + row)
    assert set(steps) == {0}
    assert watch.look().runs[0].step == 1


def test_damage_is_the_state_of_its_run_only(tmp_path: Path) -> None:
    good, bad, odd = (folder_of(tmp_path, f"1,0.5,0.001,{HEALTHY}\n", name) for name in ("good", "bad", "odd"))
    (bad / "metrics.csv").write_text(HEADER + "1,2\n2,3\n")
    (odd / "recipe.yaml").write_text("- [a]\n")
    runs = Watch([good, bad, odd]).look().runs
    assert [run.state for run in runs] == ["killed or failed", "damaged", "damaged"]
    assert "line 2 is damaged" in runs[1].note
    assert "is not a recipe" in runs[2].note


def test_a_folder_of_runs_stands_for_all_of_them_and_for_later_ones(tmp_path: Path) -> None:
    watch = Watch([tmp_path / "sweep"])
    assert [run.state for run in watch.look().runs] == ["waiting"]
    folder_of(tmp_path / "sweep", name="b")
    folder_of(tmp_path / "sweep", name="a")
    assert [run.folder.name for run in watch.look().runs] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([5.0] * 4, "▁▁▁▁"),
        ([0, 1, math.nan, math.inf, 1], "▁█··█"),
        ([math.nan] * 3, "···"),
        ([0, 0, 0, 0, 0, 0, 0, 0, 8, 8], "▁▁▁▁▁▁▁█"),
        ([], ""),
    ],
)
def test_a_sparkline_goes_from_the_smallest_to_the_largest_mean(values: list[float], drawn: str) -> None:
    assert sparkline(values, 8) == drawn


def test_values_at_the_limits_of_floats_are_drawn() -> None:
    assert sparkline([1.7e308, -1.7e308, 0, math.inf], 4) == "█▁▅·"


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [
        (RECIPE.replace("16", "0"), f"200,0.5,0.001,{HEALTHY}\n"),
        (RECIPE.replace("16", "1" + "0" * 400), f"200,0.5,0.001,{HEALTHY}\n"),
        (RECIPE, f"1{'0' * 400},0.5,0.001,{HEALTHY}\n"),
    ],
)
def test_numbers_that_are_out_of_range_are_damage_of_one_run(tmp_path: Path, recipe: str, rows: str) -> None:
    folder_of(tmp_path, f"20,0.5,0.001,{HEALTHY}\n", "sound")
    (folder_of(tmp_path, rows, "broken") / "recipe.yaml").write_text(recipe)
    watching = Watch([tmp_path]).look()
    assert [run.state for run in watching.runs] == ["damaged", "killed or failed"]
    assert "damaged" in as_text(watching)


def test_a_table_has_as_many_runs_side_by_side_as_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [folder_of(tmp_path, f"200,0.5,0.001,{HEALTHY}\n", f"run{n}") for n in range(3)]
    for width, tables in ((200, 1), (80, 2), (40, 3)):
        monkeypatch.setenv("COLUMNS", str(width))
        text = as_text(Watch(folders).look())
        assert text.count("verdict") == tables
        assert max(map(len, text.splitlines())) <= width


def test_a_pipe_gets_one_plain_table(cli: Cli, tiny_run: Path, tmp_path: Path) -> None:
    done = cli("watch", tiny_run, tmp_path / "later")
    assert done.code == 0
    again = cli("watch", tiny_run, tmp_path / "later", "--once")
    assert re.sub(r"\d+ s ago *", "", done.out) == re.sub(r"\d+ s ago *", "", again.out)
    for text in ("finished", "4 of 4 (100%)", "waiting", "teacher_spread", "loss"):
        assert text in done.out
    assert "\x1b" not in done.out
    refused = cli("watch", tiny_run, "--once", "--serve")
    assert (refused.code, refused.err) == (2, "anyjepa: watch: pass --once or --serve, not both\n")


def test_a_terminal_is_followed_until_all_runs_have_finished(tmp_path: Path) -> None:
    """In a pseudo-terminal; the run gets its model while it is watched."""
    folder = folder_of(tmp_path, f"200,0.5,0.001,{HEALTHY}\n", saved=100)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "anyjepa", "watch", str(folder)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as it:
        os.close(theirs)
        text = ""
        while "resumed from" not in text:
            text += os.read(ours, 65536).decode(errors="replace")
        (folder / "model").mkdir()
        (folder / "model" / "config.json").touch()
        while True:
            try:
                text += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the terminal is closed
                break
        assert it.wait(20) == 0
    assert "finished" in text
    os.close(ours)


def test_watching_imports_neither_torch_nor_pandas() -> None:
    code = "import sys, anyjepa.runs.watch, anyjepa.cli; print({'torch', 'pandas', 'lightning'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.long
def test_a_real_run_is_followed_from_before_it_starts_over_a_kill_to_its_end(tiny_recipe: Path, tmp_path: Path) -> None:
    folder, recipe = tmp_path / "run", tmp_path / "tiny.yaml"
    recipe.write_text(
        tiny_recipe.read_text().replace("steps: 4", "steps: 60").replace("checkpoint_every: 2", "checkpoint_every: 10")
    )
    command = [sys.executable, "-W", "ignore", "-m", "anyjepa", "pretrain", str(recipe), "--output", str(folder)]
    watch = Watch([folder])

    def until(state: str, process: subprocess.Popen[bytes] | None = None, step: int = 0) -> RunStatus:
        deadline = time.time() + 120
        while True:
            (run,) = watch.look().runs
            if run.state == state and run.step >= step:
                return run
            assert time.time() < deadline, run
            time.sleep(0.02)

    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    until("waiting")
    with subprocess.Popen(command, **quiet) as process:
        run = until("training", step=12)
        assert run.left_s is not None
        assert run.steps == 60
        process.kill()
    assert until("killed or failed").note.startswith("can be resumed from step ")
    with subprocess.Popen([*command, "--resume"], **quiet) as process:
        until("training")
        finished = until("finished", step=60)
        assert process.wait(60) == 0
    assert len(finished.curves["loss"].step) == 60
    assert watch.look().finished
