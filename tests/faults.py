"""A file system that fails, or a process that is killed, at the n-th operation that changes something."""

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from commands import run_cli

OPERATIONS = (os, "replace"), (os, "rename"), (os, "unlink"), (os, "mkdir"), (os, "fsync"), (tempfile, "mkdtemp")

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "faults",
        "torch._dynamo",  # what follows imports it and Lightning late, and then every fork would
        "anyjepa.training.fit",
        "anyjepa.report",
        "anyjepa.runs.embed",
        "anyjepa.runs.evaluate",
        "anyjepa.runs.pretrain",
    ]
)


class Faults:
    """As a context, counts the operations and calls `fail` at number `at` and, if `after`, at all later ones, too."""

    def __init__(self, fail: Callable[[], object] | None = None, at: int = -1, after: bool = False):
        self.fail, self.at, self.after, self.count = fail, at, after, 0
        self._stack = ExitStack()

    def __enter__(self) -> Faults:
        for owner, name in OPERATIONS:
            self._stack.enter_context(mock.patch.object(owner, name, self._counted(getattr(owner, name))))
        for owner in (builtins, io):
            self._stack.enter_context(mock.patch.object(owner, "open", self._opened(owner.open)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _step(self) -> None:
        number, self.count = self.count, self.count + 1
        if self.fail and (number == self.at or (self.after and number > self.at)):
            self.fail()

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            self._step()
            return real(*arguments, **options)

        return operation

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if set(mode) & set("wax+") and file != os.devnull:
                self._step()
            return real(file, mode, *arguments, **options)

        return operation


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def killed() -> None:
    os._exit(9)


def in_a_child(arguments: Sequence[object], faults: Faults) -> int:
    """The exit status of a command under faults, in a process of its own.

    A server without threads forks that process. A fork of the tests' own process could wait for ever for a lock that
    one of its threads held.
    """
    process = _SERVER.Process(target=_run, args=(list(map(str, arguments)), faults))
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"still running after 300 s: {arguments}")
    return process.exitcode


def _run(arguments: list[str], faults: Faults) -> None:
    status = 70  # a traceback, which no fault may lead to
    try:
        with faults:
            status = run_cli(*arguments).code
    finally:
        os._exit(status)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
