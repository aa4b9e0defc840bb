"""`anyjepa demo` and `anyjepa pretrain`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from anyjepa.cli.options import DataOption, ImportOption, RecipeEdits, UnitOption
from anyjepa.cli.output import echo, show

if TYPE_CHECKING:
    from anyjepa.runs.folder import Run
    from anyjepa.training.interrupt import Interrupted

_machine_option = partial(typer.Option, rich_help_panel="GPUs and machines")


def demo(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Recipe whose name ends in -demo (see 'anyjepa recipes').")
    ] = "ecg-jepa-demo",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Run folder. Default: runs/RECIPE.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the simulated data and of the training.")] = 0,
    edits: RecipeEdits = None,
    imports: ImportOption = None,
) -> None:
    """Simulate data, pretrain a small model, evaluate it and write a report. Takes a few minutes."""
    from anyjepa.evaluation.proteins.result import ProteinResult
    from anyjepa.evaluation.result import Result
    from anyjepa.perturbation.scoring.result import PerturbationResult
    from anyjepa.progress import Lines, listening
    from anyjepa.report.page import write_report
    from anyjepa.runs.demo import demo, demo_recipe
    from anyjepa.runs.verdict import training_verdict
    from anyjepa.training.interrupt import Interrupted

    chosen, notices = demo_recipe(recipe, seed, edits or [])
    _show_notices(notices)
    try:
        with listening(Lines("evaluating: ")):
            run = demo(chosen, output, progress=True)
    except Interrupted as stop:
        again = ["pretrain", str(stop.folder / "recipe.yaml"), "--output", str(stop.folder), "--resume"]
        _stopped(stop, [*again, *_imports(imports)])
    for folder, kind in ((run.results, Result), (run.perturbations, PerturbationResult), (run.proteins, ProteinResult)):
        for file in sorted(folder.glob("*.json")):
            show(kind.from_json(file))
    echo(f"verdict: {training_verdict(run)}", err=True)
    echo(f"model: {run.model}")
    echo(f"report: {write_report(run.folder)}")


def pretrain(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe (see 'anyjepa recipes') or path of a YAML file.")
    ],
    data: DataOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Run folder. Default: runs/RECIPE-TIME.")
    ] = None,
    edits: RecipeEdits = None,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text file with the ids of records to leave out, one per line."),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Hold out this share of the patients, such as 0.2; 'evaluate' tests on them."
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Train on the training part of a table from 'anyjepa data split'."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from these weights: a run, a model folder or Hugging Face id, or a checkpoint of a run.",
        ),
    ] = None,
    encoder_only: Annotated[
        bool,
        typer.Option(
            "--encoder-only", help="With --from: load the encoder only, and start predictors from random weights."
        ),
    ] = False,
    unit: UnitOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --output from its newest checkpoint.")
    ] = False,
    precision: Annotated[str | None, _machine_option(metavar="NAME", help="auto, 32 or bf16.")] = None,
    devices: Annotated[
        int,
        _machine_option(min=1, metavar="N", help="Number of GPUs per machine, or of processes on a CPU."),
    ] = 1,
    nodes: Annotated[int, _machine_option(min=1, metavar="N", help="Number of machines.")] = 1,
    strategy: Annotated[str, _machine_option(metavar="NAME", help="auto or ddp.")] = "auto",
    imports: ImportOption = None,
) -> None:
    """Pretrain an encoder from a recipe. The run folder will contain the model and a report."""
    from anyjepa.recipes.schema import load_recipe
    from anyjepa.report.page import write_report
    from anyjepa.runs.pretrain import pretrain
    from anyjepa.runs.verdict import training_verdict
    from anyjepa.training.checkpoint_files import finished
    from anyjepa.training.cluster import is_main_process
    from anyjepa.training.interrupt import Interrupted

    options = {"training.precision": precision, "data.unit": unit}
    more = [f"{key}={value}" for key, value in options.items() if value is not None]
    chosen, notices = load_recipe(recipe, [*(edits or []), *more])
    _show_notices(notices)
    done = resume and output is not None and finished(output / "checkpoints", chosen.training.steps)
    which = {"exclude": _lines(exclude), "hold_out": hold_out, "split": split}
    which |= {"start": start, "encoder_only": encoder_only}
    how = {"resume": resume, "devices": devices, "nodes": nodes, "strategy": strategy}
    try:
        run = pretrain(chosen, data or [], output, progress=True, **which, **how)
    except Interrupted as stop:
        if not is_main_process():
            return
        more = [*([] if output else ["--output", str(stop.folder)]), *([] if resume else ["--resume"])]
        _stopped(stop, [*sys.argv[1:], *more])
    if not is_main_process():
        return
    if done:
        echo(
            f"{output}: had finished its {chosen.training.steps} steps, nothing was trained; the schedules end there: "
            "to train longer start a new run with more training.steps",
            err=True,
        )
    report = write_report(run.folder)
    echo(f"verdict: {training_verdict(run)}", err=True)
    echo(f"model: {run.model}\nreport: {report}")
    if exclude is None and not run.environment()["data"].get("tested", True):
        echo("notice: all records were trained on; --hold-out 0.2 keeps a part to test on", err=True)
    echo(f"next: {shlex.join([*_evaluation(run), *_imports(imports)])}", err=True)


def _show_notices(notices: Sequence[str]) -> None:
    for notice in notices:
        echo(f"notice: {notice}", err=True)


def _stopped(stop: Interrupted, command: list[str]) -> NoReturn:
    again = shlex.join(["anyjepa", *command])
    echo(f"stopped by {stop.by.name} after step {stop.step}; resume with: {again}", err=True)
    raise typer.Exit(stop.exit_code) from None


def _imports(names: list[str] | None) -> list[str]:
    return [word for name in names or [] for word in ("--import", name)]


def _lines(path: Path | None) -> list[str]:
    from anyjepa.data.files import read_text

    if path is None:
        return []
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def _evaluation(run: Run) -> list[str]:
    """The command that evaluates a run on the data that it was trained on."""
    from anyjepa.data.modalities import modality_of

    data, unit = run.environment()["data"], getattr(run.recipe.data, "unit", None)
    command = ["anyjepa", "evaluate", str(run.folder)]
    if data["paths"] != ["embedded"]:
        command += [word for path in data["paths"] for word in ("--data", path)]
    if (protocol := run.recipe.data.protocol) != "linear":
        return [*command, "--protocol", protocol]
    if data["paths"] == ["embedded"]:
        return command
    command += ["--unit", str(unit)] if unit is not None else []
    if data.get("tasks"):
        return [*command, "--task", data["tasks"][0]]
    command += ["--labels", "labels.csv", "--id", "id", "--target", "class"]
    group = modality_of(run.recipe.data).dataset.group
    grouped = data["patients"] or group != "group"  # ECGs have patients, even where the files do not name them
    return [*command, *(["--group", group] if grouped else ["--split-by", "record"])]
