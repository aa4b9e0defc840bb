"""Signals of the operating system that end a command."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C; docker stop, kubectl, systemd, `timeout` and Slurm; a closed terminal; the warnings of Slurm and Grid Engine
# before a time limit; Ctrl-Break on Windows. A platform lacks some of them.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Convert signals outside of training to SystemExit, so that temporary files are removed.

    Libraries may wrap or drop that SystemExit; the exit code is still that of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[signal.Signals] = []

    def leave(number: int, _: FrameType | None) -> None:
        came.append(signal.Signals(number))
        sys.exit(128 + number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {s: handler for s in SIGNALS if (handler := signal.getsignal(s)) in usual}
    for one in before:
        signal.signal(one, leave)
    try:
        yield
    except BaseException:
        if not came:
            raise
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if came:
        print(f"anyjepa: stopped by {came[-1].name}", file=sys.stderr)
        sys.exit(128 + came[-1])


@contextmanager
def not_passed_on() -> Iterator[None]:
    """Leave signals to this process: processes that are started meanwhile inherit a mask that blocks them.

    A terminal or Slurm signals all processes, but workers must finish what this one waits for. Windows has no masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore_signals(_: int) -> None:
    """Ignore signals in data-loading workers, because training still needs data after the first one."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
