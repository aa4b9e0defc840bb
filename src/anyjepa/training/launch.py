"""Signals while several processes start to train together."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import lightning as L

from anyjepa.signals import SIGNALS, not_passed_on


class Launch(L.Callback):
    """Until training begins, a signal ends this process, and the processes that it launched, at once.

    Processes wait for each other in C++ code, where Python runs no handlers, so a thread acts. Without this, Lightning
    would see that a process ended and send SIGKILL to all.
    """

    def __init__(self) -> None:
        self._launching = ExitStack()

    @contextmanager
    def watched(self, trainer: L.Trainer) -> Iterator[None]:
        """Wrap `trainer.fit`. One process alone needs no watching, and Windows cannot be watched."""
        with self._launching:
            if trainer.world_size > 1 and hasattr(signal, "pthread_sigmask"):
                self._launching.enter_context(_ending(trainer))
                self._launching.enter_context(not_passed_on())
            yield

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._launching.close()


@contextmanager
def _ending(trainer: L.Trainer) -> Iterator[None]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)  # from now on, Python writes the number of each signal
    threading.Thread(target=_end, args=(reading, trainer), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)  # ends the thread


def _end(reading: int, trainer: L.Trainer) -> None:
    with open(reading, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] not in SIGNALS:  # such as SIGCHLD
                continue
            for child in getattr(trainer.strategy.launcher, "procs", ()):
                child.kill()
            print(f"anyjepa: stopped by {signal.Signals(number[0]).name}", file=sys.stderr, flush=True)
            os._exit(128 + number[0])
