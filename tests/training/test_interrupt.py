"""Signals in training; trainings that are stopped are in test_resume.py."""

from __future__ import annotations

import os
import signal

from anyjepa.signals import SIGNALS, exiting_on_signals
from anyjepa.training.interrupt import Interrupted, StopRequest


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


def test_exit_codes_are_those_of_a_shell(tmp_path) -> None:
    assert Interrupted(tmp_path, 3).exit_code == 130
    assert Interrupted(tmp_path, 3, signal.SIGTERM).exit_code == 143
