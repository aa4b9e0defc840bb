"""Stop training on a signal, after finishing the current optimiser step and saving it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

from anyjepa.signals import SIGNALS


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
