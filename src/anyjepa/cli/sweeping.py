"""`anyjepa sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli.evaluation import LabelsOption, TaskOption, label_file
from anyjepa.cli.options import (
    DataOption,
    GroupOption,
    IdOption,
    ImportOption,
    JsonOption,
    SplitByOption,
    TargetOption,
)
from anyjepa.cli.output import echo, show, show_json


def sweep(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe (see 'anyjepa recipes') or path of a YAML file.")
    ],
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUES",
            help="Values to try, separated by commas, such as training.steps=500,1000; lists need brackets. "
            "'seed' is short for training.seed. Can be repeated.",
        ),
    ],
    data: DataOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the runs. Default: runs/RECIPE-sweep."),
    ] = None,
    random: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Try N random combinations instead of all of them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="With --random: seed of the draw.")] = 0,
    hold_out: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Hold out this share of the patients for testing, such as 0.2."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Train on the training part of a table from 'anyjepa data split'."),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="With --task or --labels: how labels are used, such as linear or knn. For cells: perturbation.",
        ),
    ] = "linear",
    task: TaskOption = None,
    labels: LabelsOption = None,
    id: IdOption = "id",
    target: TargetOption = None,
    group: GroupOption = None,
    split_by: SplitByOption = "group",
    as_json: JsonOption = False,
    imports: ImportOption = None,
) -> None:
    """Pretrain a recipe once for each combination of settings, and compare the runs in one table.

    If a run fails, it is listed, and the others continue. To resume a sweep that was stopped, run the same command
    again.
    """
    from anyjepa.progress import Lines, listening
    from anyjepa.report.comparison import write_comparison
    from anyjepa.report.page import write_report
    from anyjepa.runs.compare import compare
    from anyjepa.runs.sweep import PERTURBATION, Scoring, sweep
    from anyjepa.training.interrupt import Interrupted

    table = label_file(labels, id, target, group, None, split_by)
    scoring = Scoring(task, table, protocol) if task or table or protocol == PERTURBATION else None
    try:
        with listening(Lines("evaluating: ")):
            swept = sweep(
                recipe,
                settings,
                data or [],
                output,
                random=random,
                seed=seed,
                hold_out=hold_out,
                split=split,
                scoring=scoring,
                progress=lambda line: echo(line, err=True),
                done=lambda run: write_report(run.folder),
            )
    except Interrupted as stop:
        echo(f"stopped by {stop.by.name} after step {stop.step} of {stop.folder}; the same command resumes", err=True)
        raise typer.Exit(stop.exit_code) from None
    if as_json:
        show_json(swept.plain())
        return
    show(swept)
    echo(f"table: {swept.folder / 'runs.csv'}")
    finished = [run.folder for run in swept.runs if run.state == "finished"]
    if len(finished) > 1:
        echo(f"page: {write_comparison(compare(finished), swept.folder / 'comparison.html')}")
    if not swept.score:
        echo("notice: nothing says which run is best; pass --task or --labels, or set training.online", err=True)
    elif swept.best is not None and swept.best.settings:
        best = " ".join(f"{key}={value}" for key, value in swept.best.settings.items())
        echo(f"best by {swept.score}: {best}")
