"""Ctrl-C during training: finish the optimiser step, save, stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C after `step` optimiser steps; the run in `folder` can be resumed from there."""

    def __init__(self, folder: Path, step: int):
        super().__init__(f"stopped after step {step}; the run in {folder} can be resumed")
        self.folder, self.step = folder, step


class StopRequest:
    """As a context, takes the first Ctrl-C as a wish (`asked`); a second one interrupts at once, as ever."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._active = threading.current_thread() is threading.main_thread()  # Python handles signals there only
        if self._active:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)


def ignore_interrupts(_: int) -> None:
    """For workers: the terminal sends Ctrl-C to all processes, and the one that trains still needs data."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
