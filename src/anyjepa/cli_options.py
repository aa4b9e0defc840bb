"""What commands share: options, and how they print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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


def told(output: Path, count: int, skipped: Mapping[str, str]) -> None:
    """How many records are in the output, and why others are not."""
    echo(f"{output}: {count} records" + (f", {len(skipped)} left out" if skipped else ""))
    for reason in skipped.values():
        echo(f"skipped: {reason}", err=True)


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print text that may hold names from files: see `printable`."""
    typer.echo(printable(str(text), keep="\n"), err=err, nl=nl)


def show_json(value: object) -> None:
    """Print plain values as JSON in ASCII, which any terminal takes as it is."""
    typer.echo(json.dumps(value, indent=2))


def show(renderable: Any) -> None:
    """Print what rich can render."""
    console().print(renderable)


def console(stderr: bool = False) -> Any:
    """A `Terminal`; rich is imported only now."""
    from anyjepa.terminal import Terminal

    return Terminal(stderr=stderr)
