"""`anyjepa perturb`: a screen of cells in, an answer out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anyjepa.cli.options import FileEdits, ImportOption, WeightsOption
from anyjepa.cli.output import echo, show
from anyjepa.errors import InputError


def perturb(
    screen: Annotated[
        Path | None,
        typer.Argument(metavar="SCREEN", help="Screen (.h5ad). Default: the data of the run that --model names."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Pretrained model to compare: run folder, model folder or Hugging Face id."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition", metavar="A+B", help="Perturbation to predict, such as A+B or D3@10; can be repeated."
        ),
    ] = None,
    up: Annotated[
        str | None,
        typer.Option(metavar="G1,G2,...", help="Rank all perturbations by how much they increase these genes."),
    ] = None,
    down: Annotated[
        str | None,
        typer.Option(metavar="G1,G2,...", help="Rank all perturbations by how much they decrease these genes."),
    ] = None,
    synergy: Annotated[
        bool, typer.Option("--synergy", help="Also show how combinations differ from the sum of their parts.")
    ] = False,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with features of genes or compounds, to predict unseen ones: a name and numbers per row.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Folder for all tables and pictures; or one file: .h5ad, .csv or .parquet.",
        ),
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw N cells per perturbation instead of the mean (.h5ad only)."),
    ] = None,
    noise: Annotated[
        Literal["poisson", "negative_binomial"] | None,
        typer.Option(metavar="NAME", help="Noise of drawn cells: negative_binomial or poisson. Default: poisson."),
    ] = None,
    cell_eval: Annotated[
        bool,
        typer.Option("--cell-eval", help="Also write held-out predictions in the format of cell-eval."),
    ] = False,
    level: Annotated[
        float, typer.Option(min=0.01, max=0.99, metavar="P", help="Coverage of the prediction intervals.")
    ] = 0.8,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Compare methods on this screen before predicting.")
    ] = True,
    edits: FileEdits = None,
    weights: WeightsOption = None,
    imports: ImportOption = None,
) -> None:
    """Find out which predictions a screen of perturbed cells supports, and predict what was not measured.

    Needs no pretrained model. To test the predictions, it holds out whatever the screen allows: combinations,
    single perturbations, cell types, donors, batches, doses and times.
    """
    from anyjepa.runs.cells.perturb_files import check_files, write_answer

    rising, falling = (tuple(filter(None, (genes or "").split(","))) for genes in (up, down))
    check_files(output, screen, model, bool(conditions), bool(rising or falling), cells, noise is not None)
    if output is None and not evaluate and not (conditions or rising or falling):
        raise InputError("perturb: nothing to do; leave out --no-evaluate, or pass --condition, --up or --down")
    if cell_eval and (output is None or output.suffix or not evaluate):
        raise InputError("perturb: --cell-eval writes what was evaluated into a folder; pass -o FOLDER")

    from anyjepa.progress import Lines, listening
    from anyjepa.runs.cells.perturb import perturb

    with listening(Lines()):
        answer = perturb(
            screen,
            model=model,
            conditions=conditions or [],
            up=rising,
            down=falling,
            synergies=synergy,
            features=features,
            level=level,
            evaluate=evaluate,
            settings=edits or [],
            weights=weights,
        )
    show(answer if output is None else answer.render(brief=answer.predicted is not None))
    if output is not None:
        echo(write_answer(answer, output, cells, noise or "poisson", cell_eval))
