"""Signals outside of training; those in training are in test_resume.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from anyjepa.training.interrupt import SIGNALS, Interrupted, StopRequest, exiting_on_signals


def test_the_first_signal_is_a_request_and_the_second_acts() -> None:
    with StopRequest() as stop:
        assert stop.by is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.by is signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        stop.listen()  # does not undo it
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_every_handler_comes_back() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with StopRequest(), exiting_on_signals():
        assert [signal.getsignal(one) for one in SIGNALS] != before
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_an_ignored_signal_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop, exiting_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.by is None
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138)])
def test_outside_of_training_cleanup_runs(name: str, code: int) -> None:
    script = (
        "import time; from anyjepa.training.interrupt import exiting_on_signals\n"
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


def test_exit_codes_are_those_of_a_shell(tmp_path) -> None:
    assert Interrupted(tmp_path, 3).exit_code == 130
    assert Interrupted(tmp_path, 3, signal.SIGTERM).exit_code == 143


@pytest.mark.parametrize("then", ["raise ValueError('wrapped') from stop", "pass"])
def test_a_library_that_catches_the_exit_changes_nothing(then: str) -> None:
    """As pydantic, which wraps it in an error of its own, and callbacks of C libraries, which drop it."""
    script = (
        "import os, signal; from anyjepa.training.interrupt import exiting_on_signals\n"
        "with exiting_on_signals():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        f"    except BaseException as stop: {then}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "anyjepa: stopped by SIGINT\n")
