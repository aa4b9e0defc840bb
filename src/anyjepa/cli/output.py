"""How commands print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import typer

from anyjepa.errors import printable


@contextmanager
def losing_messages() -> Iterator[None]:
    """Drop messages once standard error is closed, as when its terminal is gone, instead of failing."""
    stream = sys.stderr
    if stream is not None:
        sys.stderr = _Messages(stream)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        sys.stderr = stream


class _Messages:
    """Standard error until it fails, then nothing."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._close()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._close()

    def _close(self) -> None:
        """Redirect the descriptor to the null device, so that neither buffers nor other libraries fail on it."""
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())


def show_written(output: Path, count: int, skipped: Mapping[str, str]) -> None:
    """Print the number of records written, and why others were skipped."""
    left_out = f", {len(skipped)} skipped" if skipped else ""
    echo(f"{output}: {count} records{left_out}", err=str(output) == "-")  # standard output has the table
    for reason in skipped.values():
        echo(f"skipped: {reason}", err=True)


@contextmanager
def shown_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function to report progress to, done and total; see `Counter`."""
    from anyjepa.progress import Counter

    with Counter(what) as counter:
        yield counter.update


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print text that may contain names from files (see `printable`)."""
    typer.echo(printable(str(text), keep="\n"), err=err, nl=nl)


def show_json(value: object) -> None:
    """Print plain values as JSON in ASCII, which every terminal can show."""
    typer.echo(json.dumps(value, indent=2))


def show(renderable: Any) -> None:
    """Print anything that rich can render."""
    console().print(renderable)


def console() -> Any:
    """Return a `Terminal`; imports rich only when it is needed."""
    from anyjepa.terminal import Terminal

    return Terminal()
