"""The commands that take a model to records: `predict`, `perturb` and `embed`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli_options import Leads, Rate, SkipErrors, Unit, Weights, echo, told


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


class CellNoise(StrEnum):
    poisson = "poisson"
    negative_binomial = "negative_binomial"


def perturb(
    model: Annotated[str, typer.Argument(help="Run folder, model folder or Hugging Face id of a model of cells.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".h5ad, .csv or .parquet; a ranking is a table.")],
    data: Annotated[
        list[Path] | None, typer.Option("--data", help=".h5ad that was measured. Default: the run's embedded screen.")
    ] = None,
    conditions: Annotated[
        list[str] | None, typer.Option("--condition", help="What is to be predicted, e.g. A+B; may be repeated.")
    ] = None,
    up: Annotated[str | None, typer.Option(help="Genes that are to go up, G1,G2: ranks all singles and pairs.")] = None,
    down: Annotated[str | None, typer.Option(help="Genes that are to go down.")] = None,
    cells: Annotated[
        int | None, typer.Option(min=1, help="With .h5ad: so many predicted cells of each condition, not its mean.")
    ] = None,
    noise: Annotated[
        CellNoise | None, typer.Option(help="Of predicted cells. Default: poisson, around moved controls.")
    ] = None,
    synergy: Annotated[
        Path | None, typer.Option(help=".csv or .parquet: how combinations differ from the sum of their parts.")
    ] = None,
    edits: Annotated[
        list[str] | None, typer.Option("--set", help="How the file is read, e.g. condition=gene, quality.min_genes=0.")
    ] = None,
    level: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the intervals.")] = 0.8,
    weights: Annotated[Weights | None, typer.Option(help="Default: the teacher, where there is one.")] = None,
) -> None:
    """What perturbations that were not measured would do to cells, learnt from those that were."""
    from anyjepa.evaluation.perturbation.questions import Goal
    from anyjepa.runs.perturb import perturb_files

    rising, falling = (tuple(filter(None, (genes or "").split(","))) for genes in (up, down))
    count = perturb_files(
        model,
        data or [],
        output,
        conditions=conditions or [],
        goal=Goal(rising, falling) if rising or falling else None,
        cells=cells,
        noise=noise.value if noise else None,
        synergies=synergy,
        level=level,
        file=edits or [],
        weights=weights.value if weights else None,
    )
    echo(f"{output}: {count} rows")


def embed(
    model: Annotated[str, typer.Argument(help="Run folder, model folder or Hugging Face id.")],
    paths: Annotated[list[Path], typer.Argument(help="Files or folders of what the model reads.")],
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
