"""Progress of long work: the code that does the work reports it, and a listener shows it.

The code calls `stage`, `part` and `tell`. Without a listener nothing is shown, except in a notebook, which gets a line
now and then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from time import monotonic
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from anyjepa.errors import printable
from anyjepa.terminal import Terminal, duration

EVERY_S = 30.0  # time between lines where there is no terminal
Listener = Callable[[str, str], object]  # a stage, and what it has reached ('' at its beginning); '' and '' at the end

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_stage: ContextVar[str] = ContextVar("stage", default="")
_parts: ContextVar[tuple[str, ...]] = ContextVar("parts", default=())


@contextmanager
def stage(name: str, announced: bool = True) -> Iterator[None]:
    """Work that is worth a line of its own, such as one row of an evaluation.

    announced: whether its beginning is reported, too, or only what `tell` says if it takes long.
    """
    before = _stage.set(name)
    if announced:
        _hear(name, "")
    try:
        yield
    finally:
        _stage.reset(before)
        if not _stage.get():
            _hear("", "")


@contextmanager
def part(name: str) -> Iterator[None]:
    """A part of a stage, such as one of its splits; it is named in everything that `tell` reports inside."""
    before = _parts.set((*_parts.get(), name))
    tell()
    try:
        yield
    finally:
        _parts.reset(before)


def tell(detail: str = "") -> None:
    """Report how far the stage is. Outside of a stage, this does nothing."""
    if name := _stage.get():
        _hear(name, ", ".join(filter(None, (*_parts.get(), detail))))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a function with everything that is reported inside the context."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def reported(progress: Callable[[str], object] | None) -> AbstractContextManager[None]:
    """Call `progress` with the name of each stage inside; None changes nothing."""
    if progress is None:
        return nullcontext()
    return listening(lambda name, detail: progress(name) if name and not detail else None)


class Lines:
    """A listener that shows progress on standard error: in place in a terminal, and otherwise in lines.

    There is a line at the beginning of each stage, and then at most one every 30 s. prefix: of each line.
    """

    def __init__(self, prefix: str = ""):
        self._console, self._prefix, self._last = Terminal(stderr=True), prefix, monotonic()
        self._status: Any = None  # only while there is a stage, as other work may have a bar of its own

    def __call__(self, name: str, detail: str) -> None:
        text = f"{self._prefix}{name}{detail and ': ' + detail}"
        if self._console.is_terminal:
            self._show_in_place(name, Text(text))  # rich takes a str for markup here
        elif name and (not detail or monotonic() - self._last >= EVERY_S):
            self._last = monotonic()
            _print_line(text)

    def _show_in_place(self, name: str, text: Text) -> None:
        if name and self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        elif name:
            self._status.update(text)
        elif self._status is not None:
            self._status.stop()
            self._status = None


class Counter:
    """Progress of counted work on standard error: a bar in a terminal; otherwise a line every 30 s, and one at the end
    of work that took so long.

    what: the work, such as 'embedding'. shown: False shows nothing.
    """

    def __init__(self, what: str, shown: bool = True):
        self._what, self._shown, self._console = what, shown, Terminal(stderr=True)
        self._begin = self._last = monotonic()
        self._first: int | None = None
        self._newest: tuple[int, int, str] | None = None  # what has not been printed yet
        self._bar = Progress(
            TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(), TimeRemainingColumn(),
            console=self._console, disable=not (shown and self._console.is_terminal),
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, text="")
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the bar, or write the last line."""
        self._bar.stop()
        if self._newest is not None and monotonic() - self._begin >= EVERY_S:
            self._write(*self._newest)

    def update(self, done: int, total: int, text: str = "") -> None:
        """`done` of `total` are finished."""
        self._first = done if self._first is None else self._first
        self._bar.update(self._task, completed=done, total=total, text=text)
        if self._shown and not self._console.is_terminal:
            self._newest = done, total, text
            if monotonic() - self._last >= EVERY_S:
                self._write(done, total, text)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        if self._shown and self._console.is_terminal:
            self._console.print(text, soft_wrap=True, highlight=False)
        elif self._shown:
            _print_line(text)

    def _write(self, done: int, total: int, text: str) -> None:
        self._last, self._newest = monotonic(), None
        new = done - (self._first or 0)
        left = (total - done) * (self._last - self._begin) / new if new else 0.0
        more = f", {duration(left)} left" if new and done < total else ""
        self.print(f"{self._what} {done:,} of {total:,}{text and ', ' + text}{more}")


def _print_line(text: str) -> None:
    """Without rich, which would show a line in a notebook as an object of its own."""
    print(printable(text), file=sys.stderr, flush=True)


def in_notebook() -> bool:
    """Whether this is a notebook, where long work shows its progress by default."""
    return Terminal().is_jupyter


def _hear(name: str, detail: str) -> None:
    listener = _listener.get()
    if listener is None and in_notebook():
        listener = _in_notebooks
    if listener is not None:
        listener(name, detail)


_in_notebooks = Lines()
