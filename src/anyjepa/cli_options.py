"""What commands share: options, and how they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from anyjepa.errors import printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Unit = Annotated[str | None, typer.Option(help="mV, uV, V or mV per unit, over what the files say.")]
Rate = Annotated[float | None, typer.Option(help="Hz, for arrays and tables that do not say.")]
SkipErrors = Annotated[bool, typer.Option("--skip-errors", help="Leave out what cannot be read or used, and say so.")]
Leads = Annotated[str | None, typer.Option(help="I,II,V1 ..., for arrays that do not say.")]


class Weights(StrEnum):
    teacher = "teacher"
    average = "average"
    student = "student"


@contextmanager
def losing_messages() -> Iterator[None]:
    """Messages that standard error does not take, because its terminal or pipe is closed, are lost and stop nothing."""
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
        """Lead the descriptor nowhere: what is still in buffers, and what libraries write to it, fails no more."""
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())


def told(output: Path, count: int, skipped: Mapping[str, str]) -> None:
    """How many records are in the output, and why others are not."""
    echo(f"{output}: {count} records" + (f", {len(skipped)} left out" if skipped else ""))
    for reason in skipped.values():
        echo(f"skipped: {reason}", err=True)


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print text that may contain names from files (see `printable`)."""
    typer.echo(printable(str(text), keep="\n"), err=err, nl=nl)


def show_json(value: object) -> None:
    """Print plain values as JSON in ASCII, which every terminal can show."""
    typer.echo(json.dumps(value, indent=2))


def show(renderable: Any) -> None:
    """Print what rich can render."""
    console().print(renderable)


def console(stderr: bool = False) -> Any:
    """Return a `Terminal`; imports rich only when it is needed."""
    from anyjepa.terminal import Terminal

    return Terminal(stderr=stderr)
