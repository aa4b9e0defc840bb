"""Options that several commands share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

Weights = Literal["teacher", "average", "student", "target"]

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Run folder, model folder, name of a model ('anyjepa models') or Hugging Face id (hf:OWNER/NAME).",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
PathArguments = Annotated[list[Path], typer.Argument(metavar="PATH", help="Files or folders to read.")]
SourceArguments = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        help="Files, folders, archives (.zip, .tar, .tar.gz) or URLs (https://..., s3://...) to read; - for standard "
        "input.",
    ),
]

DataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="File or folder to read; can be repeated. Default: the simulated data set of the recipe.",
    ),
]
WeightsOption = Annotated[
    Weights | None,
    typer.Option(
        metavar="NAME", help="Weights to use: teacher, average, student or target. Default: those of the model."
    ),
]
RecipeEdits = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe, such as training.steps=1000; can be repeated.",
    ),
]
FileEdits = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="How to read an .h5ad file of cells, such as condition=gene or values=counts; can be repeated.",
    ),
]


def _import(names: list[str] | None) -> list[str] | None:
    from anyjepa.parts import import_parts

    for name in names or []:
        import_parts(name)
    return names


ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        callback=_import,
        help="Python module or file with parts of your own that a recipe or model uses; can be repeated.",
    ),
]
SkipErrorsOption = Annotated[
    bool, typer.Option("--skip-errors", help="Skip records that cannot be read or used, and list them.")
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda or cuda:1. Default: a GPU if there is one.")
]
BatchOption = Annotated[int, typer.Option(min=1, metavar="N", help="Number of windows to encode at a time.")]
PrecisionOption = Annotated[
    Literal["32", "bf16", "auto"],
    typer.Option(help="Precision of the encoder; auto chooses bf16 if the hardware is fast at it."),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=0, max=256, metavar="N", help="Number of processes that read files in advance; the results stay the same."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

label_option = partial(typer.Option, rich_help_panel="Labels")
IdOption = Annotated[str, label_option(metavar="COLUMN", help="Column with record ids.")]
TargetOption = Annotated[
    str | None,
    label_option(metavar="COLUMN", help="Column with the class, or several 0/1 columns separated by commas."),
]
GroupOption = Annotated[
    str | None,
    label_option(metavar="COLUMN", help="Column with groups that stay in one part of a split, such as patients."),
]
SplitByOption = Annotated[
    Literal["group", "record"],
    label_option(
        metavar="NAME", help="What stays in one part of a split: group (needs --group), or record (every record alone)."
    ),
]

_ecg_option = partial(typer.Option, rich_help_panel="ECG files")
UnitOption = Annotated[
    str | None,
    _ecg_option(
        metavar="UNIT", help="Unit of the values: mV, uV, V or a number of mV per unit. Overrides what the files say."
    ),
]
RateOption = Annotated[
    float | None,
    _ecg_option(metavar="HZ", help="Sampling rate, for files that do not contain it."),
]
LeadsOption = Annotated[
    str | None,
    _ecg_option(metavar="I,II,...", help="Lead names, for files that do not contain them."),
]
