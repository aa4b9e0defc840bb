"""The command line. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import anyjepa
from anyjepa.cli_cells import PROTOCOLS, evaluate_cells
from anyjepa.cli_data import data_app
from anyjepa.cli_options import Json, SkipErrors, Unit, Weights, console, echo, losing_messages, show, show_json
from anyjepa.cli_records import embed, perturb, predict
from anyjepa.cli_weights import weights_app
from anyjepa.errors import DataWarning, InputError
from anyjepa.training.interrupt import exiting_on_signals

if TYPE_CHECKING:
    from anyjepa.runs.folder import Run
    from anyjepa.training.interrupt import Interrupted

app = typer.Typer(
    help="Joint-embedding predictive pretraining: predict the representation of what is hidden.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

Data = Annotated[
    list[Path] | None,
    typer.Option("--data", help="File or folder; may be repeated. Default: the recipe's embedded set."),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one key of the recipe, e.g. training.steps=1000.")]
Recipe = Annotated[str, typer.Argument(help="Name of a recipe (see `anyjepa recipes`) or a YAML file.")]


class SplitBy(StrEnum):
    group = "group"
    record = "record"


@app.command()
def demo(
    recipe: Annotated[
        str, typer.Argument(help="A recipe whose name ends in -demo (see `anyjepa recipes`).")
    ] = "ecg-jepa-demo",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder to make. Default: runs/<recipe>.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the embedded data and of the training.")] = 0,
) -> None:
    """Make a recipe's embedded data (ECGs by default), pretrain, probe beside controls, write a report: minutes."""
    from anyjepa.evaluation.perturbation.result import Judgement
    from anyjepa.evaluation.proteins.result import ProteinResult
    from anyjepa.evaluation.result import Result, render
    from anyjepa.report.page import write_report
    from anyjepa.runs.demo import demo
    from anyjepa.training.interrupt import Interrupted

    try:
        run = demo(recipe, output, seed, progress=True)
    except Interrupted as stop:
        _stopped(stop, ["pretrain", str(stop.folder / "recipe.yaml"), "--output", str(stop.folder), "--resume"])
    for file in sorted(run.results.glob("*.json")):
        show(render(Result.from_json(file)))
    for folder, kind in ((run.judgements, Judgement), (run.proteins, ProteinResult)):
        for file in sorted(folder.glob("*.json")):
            echo(str(kind.from_json(file)), nl=False)
    echo(f"model: {run.model}")
    echo(f"report: {write_report(run.folder)}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one with every default filled in.")] = None,
) -> None:
    """List the recipes and the published evaluation protocols, or print one."""
    from anyjepa.recipes.presets import load_preset, preset_names, preset_yaml
    from anyjepa.recipes.schema import load_recipe, recipe_names, to_yaml

    if name is None:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for known in recipe_names():
            table.add_row(known, load_recipe(known)[0].description)
        for known in preset_names():
            table.add_row(f"--protocol {known}", load_preset(known).description)
        show(table)
    elif name in preset_names():
        echo(preset_yaml(name), nl=False)
    else:
        echo(to_yaml(load_recipe(name)[0]), nl=False)


@app.command()
def pretrain(
    recipe: Recipe,
    data: Data = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/<recipe>-<time>.")
    ] = None,
    edits: Set = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Text file with ids of records to leave out, one a line: a test part, say.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --output from its newest checkpoint.")
    ] = False,
    precision: Annotated[str | None, typer.Option(help="auto, 32 or bf16.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on a CPU.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    strategy: Annotated[str, typer.Option(help="auto or ddp.")] = "auto",
) -> None:
    """Pretrain an encoder by a recipe; the run folder then holds the model and a report."""
    from lightning.pytorch.utilities import rank_zero_only

    from anyjepa.recipes.schema import load_recipe
    from anyjepa.report.page import write_report
    from anyjepa.runs.pretrain import pretrain
    from anyjepa.training.checkpoints import finished
    from anyjepa.training.interrupt import Interrupted

    chosen, notices = load_recipe(recipe, [*(edits or []), *([f"training.precision={precision}"] if precision else [])])
    for notice in notices:
        echo(f"notice: {notice}", err=True)
    done = resume and output is not None and finished(output / "checkpoints", chosen.training.steps)
    try:
        run = pretrain(
            chosen,
            data or [],
            output,
            exclude=_lines(exclude),
            resume=resume,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            progress=True,
        )
    except Interrupted as stop:
        if rank_zero_only.rank > 0:
            return
        more = [*([] if output else ["--output", str(stop.folder)]), *([] if resume else ["--resume"])]
        _stopped(stop, [*sys.argv[1:], *more])
    if rank_zero_only.rank > 0:
        return
    if done:
        echo(
            f"{output}: had finished its {chosen.training.steps} steps, nothing was trained; the schedules end there: "
            "to train longer start a new run with more training.steps",
            err=True,
        )
    report = write_report(run.folder)
    echo(f"model: {run.model}\nreport: {report}")
    echo(f"next: {shlex.join(_evaluation(run))}", err=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Run folder, model folder or Hugging Face id.")],
    data: Data = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="What is trained on the labels: linear, knn, attentive, finetune, supervised, or a published one by "
            "name (see `anyjepa recipes`). Of cells: perturbation, proteins."
        ),
    ] = "linear",
    task: Annotated[str | None, typer.Option(help="A task that the data set names, e.g. rhythm.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A table of labels (CSV, TSV, Parquet) instead of --task.")
    ] = None,
    id: Annotated[str, typer.Option(help="Its column of record ids.")] = "id",
    target: Annotated[str | None, typer.Option(help="Its column of classes, or 0/1 columns: a,b,c.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Its column of groups that no split may cut: patients, say.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Its column with train, validation and test.")] = None,
    split_by: Annotated[SplitBy, typer.Option(help="'record' accepts labels without groups.")] = SplitBy.group,
    low_shot: Annotated[float | None, typer.Option(help="Labels a class (1, 2, 5 ...) or a share below 1.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Repetitions.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validation parts; default: the source's own split, else 5.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Also train the same network on the labels alone (slow).")
    ] = False,
    min_count: Annotated[int | None, typer.Option(help="Classes with fewer records are left out and named.")] = None,
    weights: Annotated[Weights | None, typer.Option(help="Default: the teacher, where there is one.")] = None,
    save_classifier: Annotated[
        Path | None, typer.Option(help="Model folder for the encoder with its head of the first split, for `predict`.")
    ] = None,
    edits: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="How to judge, e.g. evaluation.finetune.attention=causal; of cells: how the file is read, e.g. "
            "condition=gene, quality.min_genes=0.",
        ),
    ] = None,
    unit: Unit = None,
    skip_errors: SkipErrors = False,
    as_json: Json = False,
) -> None:
    """Judge an encoder on labels, beside a random-init encoder, raw input and the same network trained from scratch."""
    from anyjepa.evaluation.result import render
    from anyjepa.recipes.schema import apply_edit
    from anyjepa.report.page import write_report
    from anyjepa.runs.evaluate import evaluate
    from anyjepa.runs.folder import find_run
    from anyjepa.runs.labelled import LabelFile

    if labels is not None and target is None:
        raise InputError(f"--labels {labels}: say which column holds the classes by --target")
    table = LabelFile(labels, id, target.split(","), group, split, split_by.value) if labels and target else None
    chosen = {
        "low_shot": low_shot,
        "seeds": seeds,
        "folds": folds,
        "min_count": min_count,
        "from_scratch": from_scratch or None,
    }
    if protocol in PROTOCOLS:
        given = {"--task": task, "--labels": labels, "--low-shot": low_shot, "--min-count": min_count, "--unit": unit}
        given |= {"--from-scratch": from_scratch or None, "--save-classifier": save_classifier}
        if unused := [option for option, value in given.items() if value is not None]:
            raise InputError(f"evaluate: {unused[0]} is of labels, --protocol {protocol} has none")
        asked = {"seeds": seeds, "splits": folds}
        evaluate_cells(protocol, model, data or [], weights, asked, edits or [], as_json)
        return
    judging: dict[str, Any] = {}
    for edit in edits or []:
        if not edit.startswith("evaluation."):
            raise InputError(
                f"--set {edit}: says how to judge, as evaluation.finetune.attention=causal does, or how a file of "
                f"cells is read, with --protocol {' or '.join(PROTOCOLS)}"
            )
        apply_edit(judging, edit)
    with console(stderr=True).status("reading") as status:
        result = evaluate(
            model,
            data or [],
            protocol=protocol,
            task=task,
            labels=table,
            weights=weights.value if weights else None,
            settings=judging.get("evaluation"),
            unit=unit,
            on_error="skip" if skip_errors else "raise",
            save_classifier=save_classifier,
            progress=status.update if status.console.is_terminal else _tell,
            **{name: value for name, value in chosen.items() if value is not None},
        )
    report = write_report(run.folder) if (run := find_run(Path(model))) else None
    if as_json:
        show_json(json.loads(result.to_json()))
        return
    show(render(result))
    if report:
        echo(f"report: {report}")
    if save_classifier:
        echo(f"classifier: {save_classifier}")


def _tell(row: str) -> None:
    """What is being judged, where no terminal can show it in place."""
    echo(f"judging: {row}", err=True)


app.command()(predict)
app.command()(perturb)
app.command()(embed)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Write a run's report.html anew."""
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import open_run

    echo(write_report(open_run(run).folder))


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        echo(anyjepa.__version__)
        raise typer.Exit


@losing_messages()
def main() -> None:
    """Entry point of the command line.

    Exit codes: 2 for invalid input or a full disk, 1 for a diverged training, 128 plus its number for a signal.
    """
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        with warnings.catch_warnings(), exiting_on_signals():
            warnings.showwarning = _one_line_warning
            warnings.simplefilter("always", DataWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
            _check(arguments)
            app(arguments)
    except InputError as error:
        _stop(error, 2, debug)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _stop(InputError(reason), 2, debug)
    except RuntimeError as error:
        if str(error).startswith("Symlink loop"):  # of Path.resolve, until Python 3.13
            _stop(InputError(str(error)), 2, debug)
        if type(error).__name__ != "DivergedError":
            raise
        _stop(error, 1, debug)


def _check(arguments: list[str]) -> None:
    """Refuse ranks that are not numbers, bytes that are not UTF-8, and empty values (`--data "$UNSET"`)."""
    for name in (
        "RANK",
        "LOCAL_RANK",
        "SLURM_PROCID",
        "JSM_NAMESPACE_RANK",
    ):  # Lightning reads them at import
        if not (text := os.environ.get(name, "0")).isdecimal():
            raise InputError(f"{name} is '{text}' in the environment; it must be a number, or unset")
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(f"{argument}: contains bytes that are not UTF-8; rename the file or folder")
    for before, argument in zip(["anyjepa", *arguments], arguments, strict=False):
        if re.fullmatch(r"(--[\w-]+=)?", argument):
            raise InputError(
                f"the value after '{argument or before}' is empty; leave it out, or pass one ('.' is this folder)"
            )


def _stop(error: Exception, code: int, debug: bool) -> None:
    if debug:
        raise error
    echo(f"anyjepa: {error}", err=True)
    sys.exit(code)


def _one_line_warning(message: Warning | str, category: type[Warning], *rest: Any) -> None:
    if issubclass(category, DataWarning):
        echo(f"warning: {message}", err=True)


def _stopped(stop: Interrupted, command: list[str]) -> NoReturn:
    again = shlex.join(["anyjepa", *command])
    echo(f"stopped by {stop.by.name} after step {stop.step}; resume with: {again}", err=True)
    raise typer.Exit(stop.exit_code) from None


def _evaluation(run: Run) -> list[str]:
    """The command that judges a run on what it was trained on."""
    data, unit = run.environment()["data"], getattr(run.recipe.data, "unit", None)
    command = ["anyjepa", "evaluate", str(run.folder)]
    if run.recipe.data.kind == "cells":
        paths = [] if data["paths"] == ["embedded"] else data["paths"]
        protocol = PROTOCOLS[bool(run.recipe.data.proteins)]
        return [*command, *(word for path in paths for word in ("--data", path)), "--protocol", protocol]
    if data["paths"] == ["embedded"]:
        return command
    command += [word for path in data["paths"] for word in ("--data", path)]
    command += ["--unit", str(unit)] if unit is not None else []
    if data.get("tasks"):
        return [*command, "--task", data["tasks"][0]]
    command += ["--labels", "labels.csv", "--id", "id", "--target"]
    if run.recipe.data.kind == "ecg":
        return [*command, "diagnosis", "--group", "patient"]
    return [*command, "class", *(["--group", "group"] if data["patients"] else ["--split-by", "record"])]


def _lines(path: Path | None) -> list[str]:
    from anyjepa.data.files import read_text

    if path is None:
        return []
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


if __name__ == "__main__":
    main()
