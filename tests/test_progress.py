"""Long work says how far it is: in a terminal, in a log file, and in a notebook."""

from __future__ import annotations

import builtins
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Cli

import anyjepa
from anyjepa.progress import Counter, Lines, in_notebook, listening, part, reported, stage, tell
from anyjepa.terminal import Terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, as a list of one number."""
    now = [0.0]
    monkeypatch.setattr("anyjepa.progress.monotonic", lambda: now[0])
    return now


def test_a_listener_hears_stages_with_their_parts() -> None:
    heard: list[tuple[str, str]] = []
    tell("nobody listens")
    with listening(lambda *what: heard.append(what)):
        tell("outside of a stage")
        with stage("row"), part("split 1 of 2"):
            tell("step 3")
        with pytest.raises(ValueError, match="x"), stage("next"):
            raise ValueError("x")
    with stage("later"):
        tell("nobody listens any more")
    assert heard == [
        ("row", ""), ("row", "split 1 of 2"), ("row", "split 1 of 2, step 3"), ("", ""), ("next", ""), ("", ""),
    ]  # fmt: skip


def test_a_function_of_the_caller_gets_the_names_of_stages() -> None:
    names: list[str] = []
    with reported(names.append):
        for name in ("first", "second"):
            with stage(name), part("a part"):
                tell("more")
    with reported(None), stage("third"):
        pass
    assert names == ["first", "second"]


def test_names_are_no_markup_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        "anyjepa.progress.Terminal", lambda **_: Terminal(file=shown, force_terminal=True, width=80, no_color=True)
    )
    with listening(Lines()), stage("[/gene] [red]\x1b[2J"):
        tell("[/x]")
    with Counter("embedding") as counter:
        counter.update(1, 2, "[/x]")
    assert "[/gene] [red]\\x1b[2J" in shown.getvalue()
    assert "[/x]" in shown.getvalue()


def test_a_log_gets_a_line_per_stage_and_one_every_half_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(Lines("evaluating: ")):
        for name in ("first", "second"):
            with stage(name):
                for step in range(70):
                    clock[0] += 1
                    tell(f"step {step}")
    assert capsys.readouterr().err.splitlines() == [
        "evaluating: first", "evaluating: first: step 29", "evaluating: first: step 59",
        "evaluating: second", "evaluating: second: step 29", "evaluating: second: step 59",
    ]  # fmt: skip


def test_counted_work_says_how_long_it_still_takes(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Counter("embedding") as counter:
        for done in range(1000, 6001, 1000):
            counter.update(done, 6000, "12 per s")
            clock[0] += 25
        counter.print("a notice")
    assert capsys.readouterr().err.splitlines() == [
        "embedding 3,000 of 6,000, 12 per s, 75 s left",
        "embedding 5,000 of 6,000, 12 per s, 25 s left",
        "a notice",
        "embedding 6,000 of 6,000, 12 per s",
    ]
    with Counter("embedding") as counter:  # is done at once
        counter.update(2, 2)
    with Counter("embedding", shown=False) as counter:
        counter.update(1, 2)
        counter.print("a notice")
    assert capsys.readouterr().err == ""


def test_a_notebook_gets_lines_without_a_listener(
    clock: list[float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_recipe: Path,
    tmp_path: Path,
) -> None:
    """Where Jupyter has defined `get_ipython`."""

    class ZMQInteractiveShell:
        pass

    assert not in_notebook()
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"
    assert in_notebook()
    run = anyjepa.pretrain(tiny_recipe, output=tmp_path / "run")
    anyjepa.evaluate(run, protocol="knn", task="diagnosis", seeds=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "pretrained (teacher)"
    assert len(lines) == 4  # and the controls


def test_pretraining_in_a_log_file_says_how_far_it_reads(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six series that are shorter than the recipe's crops."""
    monkeypatch.setattr("anyjepa.progress.EVERY_S", 0.0)
    for number in range(6):
        (tmp_path / f"{number}.csv").write_text("a\n" + "".join(f"{value % (number + 2)}\n" for value in range(40)))
    done = cli("pretrain", "series-jepa-demo", "--data", tmp_path, "-o", tmp_path / "run")
    assert "reading the data: read 5 series" in done.err
    assert done.err.splitlines()[-1].startswith("anyjepa: ")


def test_fine_tuning_in_a_log_file_says_how_far_it_is(
    cli: Cli, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyjepa.progress.EVERY_S", 0.0)
    command = ["evaluate", tiny_run, "--protocol", "finetune", "--task", "diagnosis", "--seeds", 1, "--folds", 3]
    done = cli(*command)
    assert done.code == 0, done.err
    for split in (1, 2, 3):
        line = rf"^evaluating: pretrained \(teacher\): split {split} of 3, step 3 of 3"
        assert re.search(line, done.err, flags=re.M), done.err
    assert re.search(r"encoded \d+ of \d+ records", done.err)
    assert "\x1b" not in done.err


def test_an_evaluation_in_a_terminal_says_it_in_place(tiny_run: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-W", "ignore", "-m", "anyjepa", "evaluate", str(tiny_run), "--protocol", "knn"]
    command += ["--task", "diagnosis", "--seeds", "1", "--folds", "3", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    ) as process:
        os.close(theirs)
        text = ""
        while True:
            try:
                text += os.read(ours, 65536).decode()
            except OSError:  # closed
                break
        assert process.wait(60) == 0
    os.close(ours)
    assert "evaluating: pretrained (teacher)" in text
    assert re.search(r"split \d of 3", text)
    assert "\x1b[2K" in text  # a line that is written again
