"""Signals outside of training."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from anyjepa.signals import SIGNALS, not_passed_on


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138)])
def test_outside_of_training_cleanup_runs(name: str, code: int) -> None:
    script = (
        "import time; from anyjepa.signals import exiting_on_signals\n"
        "with exiting_on_signals():\n"
        "    try: print('ready', flush=True); time.sleep(60)\n"
        "    finally: print('cleaned', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "cleaned\n", f"anyjepa: stopped by {name}\n")


@pytest.mark.parametrize("then", ["raise ValueError('wrapped') from stop", "pass"])
def test_a_library_that_catches_the_exit_changes_nothing(then: str) -> None:
    """As pydantic, which wraps it in an error of its own, and callbacks of C libraries, which drop it."""
    script = (
        "import os, signal; from anyjepa.signals import exiting_on_signals\n"
        "with exiting_on_signals():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        f"    except BaseException as stop: {then}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "anyjepa: stopped by SIGINT\n")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no signal masks")
def test_processes_started_meanwhile_leave_signals_to_this_one() -> None:
    command = [sys.executable, "-c", "print('ready', flush=True); input()"]
    started = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with not_passed_on():
        inside = subprocess.Popen(command, **started)
    outside = subprocess.Popen(command, **started)
    for process in (inside, outside):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outside.send_signal(signal.SIGTERM)
    for one in SIGNALS:
        inside.send_signal(one)
    assert inside.communicate("go on\n", timeout=30) == ("", None)
    assert (inside.returncode, outside.wait(30)) == (0, -signal.SIGTERM)
    outside.communicate()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)
