"""`anyjepa evaluate` and `anyjepa report`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyjepa.cli.options import (
    DataOption,
    GroupOption,
    IdOption,
    ImportOption,
    JsonOption,
    ModelArgument,
    RunArgument,
    SkipErrorsOption,
    SplitByOption,
    TargetOption,
    UnitOption,
    WeightsOption,
    label_option,
)
from anyjepa.cli.output import echo, show, show_json
from anyjepa.errors import InputError

if TYPE_CHECKING:
    from anyjepa.runs.labelled import LabelFile

_protocol_option = partial(typer.Option, rich_help_panel="Protocol")

TaskOption = Annotated[
    str | None,
    label_option(metavar="NAME", help="Task that the data set defines, such as rhythm."),
]
LabelsOption = Annotated[
    Path | None,
    label_option(metavar="FILE", help="Table of labels (CSV, TSV or Parquet), instead of --task."),
]
SplitOption = Annotated[
    str | None,
    label_option(metavar="COLUMN", help="Column that holds train, validation or test for each record."),
]
MinCountOption = Annotated[
    int | None,
    label_option(metavar="N", help="Drop classes with fewer than N records, and list them."),
]
ProtocolOption = Annotated[
    str,
    _protocol_option(
        metavar="NAME",
        help="How labels are used: linear, knn, attentive, finetune, supervised, dense (single tokens), or a "
        "published protocol (see 'anyjepa recipes'). For cells: perturbation or proteins.",
    ),
]
LowShotOption = Annotated[
    float | None,
    _protocol_option(
        metavar="N", help="Train on N labels per class (dense: on N patients), or below 1 on this share of the labels."
    ),
]
SeedsOption = Annotated[
    int | None,
    _protocol_option(metavar="N", help="Number of repeats with different random numbers. Default: set by the recipe."),
]
FoldsOption = Annotated[
    int | None,
    _protocol_option(
        metavar="N", help="Number of cross-validation folds. Default: the split of the data set if it has one, else 5."
    ),
]
FromScratchOption = Annotated[
    bool,
    _protocol_option("--from-scratch", help="Also train the same network on the labels alone (slow)."),
]
EditsOption = Annotated[
    list[str] | None,
    _protocol_option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the evaluation, such as evaluation.bootstrap=0 or, for cells, "
        "perturbation.bootstrap=0; or how a file of cells is read, such as condition=gene. Can be repeated.",
    ),
]
SaveOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Save the encoder with the classifier of the first split, for 'anyjepa predict'."
    ),
]


def evaluate(
    model: ModelArgument,
    data: DataOption = None,
    unit: UnitOption = None,
    weights: WeightsOption = None,
    protocol: ProtocolOption = "linear",
    low_shot: LowShotOption = None,
    seeds: SeedsOption = None,
    folds: FoldsOption = None,
    from_scratch: FromScratchOption = False,
    edits: EditsOption = None,
    task: TaskOption = None,
    labels: LabelsOption = None,
    id: IdOption = "id",
    target: TargetOption = None,
    group: GroupOption = None,
    split: SplitOption = None,
    split_by: SplitByOption = "group",
    min_count: MinCountOption = None,
    save_classifier: SaveOption = None,
    skip_errors: SkipErrorsOption = False,
    as_json: JsonOption = False,
    imports: ImportOption = None,
) -> None:
    """Evaluate an encoder, and compare it with controls such as a randomly initialised encoder and the raw input.

    Prints a table, and updates the report of a run.
    """
    from anyjepa.progress import Lines, listening
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import find_run

    options = {
        "task": task,
        "labels": label_file(labels, id, target, group, split, split_by),
        "low_shot": low_shot,
        "seeds": seeds,
        "folds": folds,
        "min_count": min_count,
        "from_scratch": from_scratch or None,
        "unit": unit,
        "on_error": "skip" if skip_errors else None,
        "save_classifier": save_classifier,
    }
    options = {name: value for name, value in options.items() if value is not None}
    with listening(Lines("evaluating: ")):
        result = _protocol(protocol, options, edits or [])(model, data or [], weights=weights)
    report = write_report(run.folder) if (run := find_run(Path(model))) else None
    if as_json:
        show_json(result.model_dump(mode="json"))
        return
    show(result)
    if report:
        echo(f"report: {report}")
    if save_classifier:
        echo(f"classifier: {save_classifier}")
        echo(f"next: anyjepa predict {shlex.quote(str(save_classifier))} RECORDS -o predictions.parquet", err=True)


def report(run: RunArgument, imports: ImportOption = None) -> None:
    """Write the report.html of a run again."""
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import open_run

    echo(write_report(open_run(run).folder))


def label_file(
    labels: Path | None, id: str, target: str | None, group: str | None, split: str | None, split_by: str
) -> LabelFile | None:
    from anyjepa.runs.labelled import LabelFile

    if labels is None:
        columns = {"--target": target, "--group": group, "--split": split}
        if without := [option for option, column in columns.items() if column is not None]:
            raise InputError(f"evaluate: {without[0]} names a column of a table; pass the table with --labels")
        return None
    if target is None:
        raise InputError(f"--labels {labels}: pass --target, the column with the classes")
    return LabelFile(labels, id, target.split(","), group, split, split_by)


def _protocol(protocol: str, options: dict[str, Any], edits: list[str]) -> Callable[..., Any]:
    """The function that evaluates by a protocol. Raises InputError for an option that the protocol does not have."""
    from anyjepa.runs.cells.evaluate_perturbations import evaluate_perturbations
    from anyjepa.runs.cells.evaluate_proteins import evaluate_proteins
    from anyjepa.runs.evaluate import evaluate

    of_cells = {  # with the names of the options that they have
        "perturbation": (evaluate_perturbations, {"seeds": "seeds", "folds": "splits"}),
        "proteins": (evaluate_proteins, {}),
    }
    if protocol not in of_cells:
        return partial(evaluate, protocol=protocol, settings=_settings(edits, "evaluation"), **options)
    function, names = of_cells[protocol]
    if unknown := [name for name in options if name not in names]:
        flag = "skip-errors" if unknown[0] == "on_error" else unknown[0].replace("_", "-")
        raise InputError(f"evaluate: --{flag} does not apply to --protocol {protocol}")
    options = {names[name]: value for name, value in options.items()}
    if protocol == "perturbation":
        own = [edit for edit in edits if edit.startswith("perturbation.")]
        options["settings"], edits = _settings(own, "perturbation"), [edit for edit in edits if edit not in own]
    return partial(function, file=edits, **options)


def _settings(edits: list[str], section: str) -> dict[str, Any] | None:
    """Edits of a section, such as evaluation.seeds=3, as nested settings."""
    from anyjepa.recipes.plain import apply_edit

    plain: dict[str, Any] = {}
    for edit in edits:
        if not edit.startswith(f"{section}."):
            raise InputError(
                f"--set {edit}: settings of an evaluation start with 'evaluation.', such as evaluation.seeds=3; "
                "settings of a file of cells need --protocol perturbation or proteins"
            )
        apply_edit(plain, edit)
    return plain.get(section)
