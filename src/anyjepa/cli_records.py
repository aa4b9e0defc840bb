"""The commands that take a model to records: `predict` and `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli_options import Leads, Rate, SkipErrors, Unit, Weights, told


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
