"""The commands that take a model to records: `predict` and `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli_options import Leads, Rate, SkipErrors, Unit, Weights, told


def predict(
    model: Annotated[
        str,
        typer.Argument(help="Model folder or Hugging Face id, with a classifier in it; for --horizon a NEPA model."),
    ],
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".parquet or .csv, one row a record")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="Surprise of each patch against its prediction from so many before: one row a patch."),
    ] = None,
    continued: Annotated[
        Path | None, typer.Option(help="With --horizon: .parquet or .csv of the patches expected after each record.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="With --horizon: .png, .svg or .pdf of the most surprising 10 s.")
    ] = None,
    windows: Annotated[Path | None, typer.Option(help="Another .parquet or .csv, one row a window.")] = None,
    fs: Rate = None,
    leads: Leads = None,
    unit: Unit = None,
    skip_errors: SkipErrors = False,
) -> None:
    """Probabilities and decisions of a classifier that `evaluate --save-classifier` kept, and what drove them.

    With --horizon: what a NEPA model expects, and how surprising each patch is.
    """
    from anyjepa.errors import InputError

    how = {"skip_errors": skip_errors, "fs": fs, "leads": leads.split(",") if leads else None, "unit": unit}
    if horizon is not None:
        from anyjepa.runs.predict import surprise_files

        if windows is not None:
            raise InputError("predict: --windows belongs to a classifier, --horizon to a NEPA model; give one of them")
        told(output, *surprise_files(model, paths, output, horizon, continued=continued, draw=draw, **how))
        return
    from anyjepa.runs.predict import predict_files

    for option, value in (("--continued", continued), ("--draw", draw)):
        if value is not None:
            raise InputError(f"predict: {option} needs --horizon")
    told(output, *predict_files(model, paths, output, windows=windows, **how))


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
