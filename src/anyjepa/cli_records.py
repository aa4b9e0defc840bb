"""The commands that take a model to records; the options and the printing that all commands share."""

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
    student = "student"


def predict(
    model: Annotated[str, typer.Argument(help="Model folder or Hugging Face id, with a classifier in it.")],
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".parquet or .csv, one row a record")],
    windows: Annotated[Path | None, typer.Option(help="Another .parquet or .csv, one row a window.")] = None,
    fs: Rate = None,
    leads: Leads = None,
    unit: Unit = None,
    skip_errors: SkipErrors = False,
) -> None:
    """Probabilities and decisions of a classifier that `evaluate --save-classifier` kept, and what drove them."""
    from anyjepa.runs.predict import predict_files

    count, skipped = predict_files(
        model,
        paths,
        output,
        windows=windows,
        skip_errors=skip_errors,
        fs=fs,
        leads=leads.split(",") if leads else None,
        unit=unit,
    )
    told(output, count, skipped)


def embed(
    model: Annotated[str, typer.Argument(help="Run folder, model folder or Hugging Face id.")],
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".parquet, .npz or .csv")],
    weights: Annotated[Weights | None, typer.Option(help="Default: the teacher, where there is one.")] = None,
    fs: Rate = None,
    leads: Leads = None,
    unit: Unit = None,
    skip_errors: SkipErrors = False,
) -> None:
    """One vector a record, into a table with the records' ids."""
    from anyjepa.runs.embed import embed_files

    count, skipped = embed_files(
        model,
        paths,
        output,
        weights=weights.value if weights else None,
        skip_errors=skip_errors,
        fs=fs,
        leads=leads.split(",") if leads else None,
        unit=unit,
    )
    told(output, count, skipped)


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
