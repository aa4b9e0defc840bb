"""`anyjepa data ...`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anyjepa.cli.options import (
    FileEdits,
    GroupOption,
    IdOption,
    ImportOption,
    JsonOption,
    LeadsOption,
    PathArguments,
    RateOption,
    SplitByOption,
    TargetOption,
    UnitOption,
)
from anyjepa.cli.output import echo, show, show_json, show_written
from anyjepa.errors import InputError, did_you_mean

data_app = typer.Typer(help="Inspect, split, download and prepare data sets.", no_args_is_help=True)


@data_app.command("inspect")
def data_inspect(
    paths: PathArguments,
    kind: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="ecg, images, video, series or cells. Default: guessed from the files."),
    ] = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    edits: FileEdits = None,
    imports: ImportOption = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page with charts.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Summarise a data set and list every problem found in it."""
    from anyjepa.data.modalities import MODALITIES, USUAL

    inspections = {kind: m.inspection for kind, m in MODALITIES.items() if m.inspection}
    name = kind or next((name for name, i in inspections.items() if all(map(i.recognise, paths))), USUAL.kind)
    if name not in inspections:
        raise InputError(f"data inspect: kind '{name}' is not known{did_you_mean(name, list(inspections))}")
    inspection = inspections[name]
    options = {"fs": fs, "leads": leads.split(",") if leads else None, "unit": unit, "settings": _settings(edits or [])}
    options = {option: value for option, value in options.items() if value}
    for option in options:
        if option not in inspection.options:
            fitting = " and ".join(MODALITIES[n].records for n, i in inspections.items() if option in i.options)
            shown = "set" if option == "settings" else option
            raise InputError(f"data inspect: --{shown} is for {fitting}; these are {MODALITIES[name].records}")
    summary = inspection.inspect(paths, **options)
    if html is not None:
        from anyjepa.report.inspection import write_inspection

        write_inspection(summary, ", ".join(path.resolve().name for path in paths), html)
    if as_json:
        show_json(summary)
    else:
        show(inspection.render(summary))


def _settings(edits: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if edits:
        from anyjepa.recipes.plain import apply_edit

        for edit in edits:
            apply_edit(settings, edit)
    return settings


@data_app.command("split")
def data_split(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Table of labels (CSV, TSV or Parquet).")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Table to write (.csv).")],
    target: TargetOption = None,
    id: IdOption = "id",
    group: GroupOption = None,
    split_by: SplitByOption = "group",
    test: Annotated[float, typer.Option(metavar="SHARE", help="Share of the records for testing.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the draw.")] = 0,
) -> None:
    """Draw test patients at random, the same share of every class, and write a table for 'pretrain --split'."""
    from anyjepa.data.labels import read_label_table
    from anyjepa.data.split_files import write_split
    from anyjepa.evaluation.hold_out import hold_out

    if output.suffix != ".csv":
        raise InputError(f"{output}: a split is written as .csv")
    if target is None:
        raise InputError("data split: pass --target, the column with the classes")
    if output.exists() and output.resolve() == table.resolve():
        raise InputError(f"{output}: is the table of labels; choose another output")
    labels = read_label_table(table, id, target.split(","), group, split_by=split_by)
    split = hold_out(labels.ids, labels.groups, labels.values, test, seed)
    write_split(output, split)
    count = (split.split or ()).count("test")
    echo(f"{output}: {len(split) - count} records for training, {count} for testing")
    echo(f"next: anyjepa pretrain RECIPE --data PATH --split {shlex.quote(str(output))}", err=True)


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="cifar10 or cifar100.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Folder. Default: the user's cache.")
    ] = None,
) -> None:
    """Download a public data set and check its MD5 sum. Resumes an interrupted download."""
    from anyjepa.data.images.sets.download import download

    archive = download(name, output)
    echo(f"{archive}")
    echo(f"next: anyjepa data inspect {archive}", err=True)


@data_app.command("prepare")
def data_prepare(
    paths: PathArguments,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the new store.")],
    fs: Annotated[float, typer.Option(metavar="HZ", help="Resample all records to this rate.")] = 500.0,
    leads: Annotated[
        str | None,
        typer.Option(metavar="I,II,...", help="Leads to store, in this order. Default: the standard twelve."),
    ] = None,
    missing_leads: Annotated[
        Literal["refuse", "zero"],
        typer.Option(
            metavar="NAME", help="If a record lacks a lead: refuse the record, or zero to fill the lead with zeros."
        ),
    ] = "refuse",
    highpass_hz: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Remove baseline wander below this frequency, such as 0.5 for CODE-15."),
    ] = None,
    unit: UnitOption = None,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(metavar="NAME", help="If a file cannot be read or prepared: raise an error, or skip the file."),
    ] = "raise",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of processes. Default: one per core.")
    ] = None,
    imports: ImportOption = None,
) -> None:
    """Convert ECG files to a store, which is faster to read. Resumes an interrupted conversion.

    Pass the store to --data like any folder of ECGs.
    """
    from anyjepa.data.ecg.checks import warn_about
    from anyjepa.data.ecg.leads import LEADS
    from anyjepa.data.ecg.prepare.writing import prepare_store

    store = prepare_store(
        paths,
        output,
        fs=fs,
        leads=leads.split(",") if leads else LEADS,
        missing_leads=missing_leads,
        highpass_hz=highpass_hz,
        unit=unit,
        on_error=on_error,
        workers=workers or os.cpu_count() or 1,
        progress=True,
    )
    warn_about(store.problems)
    show_written(output, len(store), store.manifest.skipped)
