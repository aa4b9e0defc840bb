"""Stop training on a signal, after finishing the current optimiser step and saving it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

# Ctrl-C; docker stop, kubectl, systemd, `timeout` and Slurm; a closed terminal; the warnings of Slurm and Grid Engine
# before a time limit; Ctrl-Break on Windows. A platform lacks some of them.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """A signal stopped training after `step` optimiser steps; the run in `folder` can be resumed from there."""

    def __init__(self, folder: Path, step: int, by: signal.Signals = signal.SIGINT):
        super().__init__(f"stopped by {by.name} after step {step}; the run in {folder} can be resumed")
        self.folder, self.step, self.by = folder, step, by

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as in a shell: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.by


class StopRequest:
    """Context manager that records the first signal (`by`) as a request to stop; a second signal acts at once.

    Ignored signals stay ignored, so `nohup` works.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python handles signals only there
            self._before = {s: before for s in SIGNALS if (before := signal.getsignal(s)) is not signal.SIG_IGN}
        self.listen()
        return self

    def listen(self) -> None:
        """Install the handlers again, because Lightning's Trainer replaces that of SIGTERM by one that exits with 0."""
        for one in self._before if self.by is None else ():
            signal.signal(one, self._note)

    def __exit__(self, *_: object) -> None:
        for one, before in self._before.items():
            signal.signal(one, before)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.by = signal.Signals(number)
        self.__exit__()


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


def ignore_interrupts(_: int) -> None:
    """Ignore signals in workers: a terminal or Slurm signals all processes, but training still needs data."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
