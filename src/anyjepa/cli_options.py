"""What commands share: options, and how they print."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

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
    typer.echo(f"{output}: {count} records" + (f", {len(skipped)} left out" if skipped else ""))
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}", err=True)


def show(renderable: Any) -> None:
    """Print what rich can render."""
    console().print(renderable)


def console(stderr: bool = False) -> Any:
    """Of rich, which is imported only now."""
    from rich.console import Console

    return Console(stderr=stderr)
