"""`anyjepa data ...`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyjepa.cli.options import FileEdits, JsonOption, LeadsOption, PathArguments, RateOption, UnitOption
from anyjepa.cli.output import echo, show, show_json, show_written
from anyjepa.errors import InputError

if TYPE_CHECKING:
    from anyjepa.data.cells.files import CellFileConfig

data_app = typer.Typer(help="Inspect, download and prepare data sets.", no_args_is_help=True)


class MissingLeads(StrEnum):
    refuse = "refuse"
    zero = "zero"


class Kind(StrEnum):
    ecg = "ecg"
    images = "images"
    video = "video"
    series = "series"
    cells = "cells"


class OnError(StrEnum):
    raise_ = "raise"
    skip = "skip"


@data_app.command("inspect")
def data_inspect(
    paths: PathArguments,
    kind: Annotated[
        Kind | None,
        typer.Option(metavar="NAME", help="ecg, images, video, series or cells. Default: guessed from the files."),
    ] = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    edits: FileEdits = None,
    as_json: JsonOption = False,
) -> None:
    """Summarise a data set and list every problem found in it."""
    from anyjepa.data.cells import inspection as cells
    from anyjepa.data.ecg import inspection as ecg
    from anyjepa.data.images import inspection as images
    from anyjepa.data.images.reading import recognise
    from anyjepa.data.series import inspection as series
    from anyjepa.data.summary import render as render_summary
    from anyjepa.data.video import inspection as video

    is_cells = kind is Kind.cells or (kind is None and all(path.suffix.lower() == ".h5ad" for path in paths))
    if edits and not is_cells:
        raise InputError("--set is for cells (.h5ad)")
    if is_cells:
        found, render = cells.inspect(_one(paths, "screen"), _cell_files(edits or ())), cells.render
    elif kind is Kind.images or (kind is None and all(map(recognise, paths))):
        found, render = images.inspect(_one(paths, "set of images")), images.render
    elif kind is Kind.video or (kind is None and all(map(video.recognise, paths))):
        found, render = video.inspect(_one(paths, "set of videos")), render_summary
    elif kind is Kind.series or (kind is None and all(map(series.recognise, paths))):
        found, render = series.inspect(paths), render_summary
    else:
        found = ecg.inspect(paths, fs=fs, leads=leads.split(",") if leads else None, unit=unit)
        render = ecg.render
    if as_json:
        show_json(found)
    else:
        show(render(found))


def _one(paths: Sequence[Path], what: str) -> Path:
    if len(paths) > 1:
        raise InputError(f"data inspect: pass one {what} at a time, not {len(paths)}")
    return paths[0]


def _cell_files(edits: Sequence[str]) -> CellFileConfig:
    from anyjepa.config import validated
    from anyjepa.data.cells.files import CellFileConfig

    plain: dict[str, Any] = {}
    if edits:
        from anyjepa.recipes.plain import apply_edit

        for edit in edits:
            apply_edit(plain, edit)
    return validated(CellFileConfig, plain, "--set")


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
        MissingLeads,
        typer.Option(metavar="NAME", help="If a record lacks a lead: refuse the record, or fill the lead with zero."),
    ] = MissingLeads.refuse,
    highpass_hz: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Remove baseline wander below this frequency, such as 0.5 for CODE-15."),
    ] = None,
    unit: UnitOption = None,
    on_error: Annotated[
        OnError,
        typer.Option(metavar="NAME", help="If a file cannot be read or prepared: raise an error, or skip the file."),
    ] = OnError.raise_,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of processes. Default: one per core.")
    ] = None,
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
        missing_leads=missing_leads.value,
        highpass_hz=highpass_hz,
        unit=unit,
        on_error=on_error.value,
        workers=workers or os.cpu_count() or 1,
        progress=True,
    )
    warn_about(store.problems)
    show_written(output, len(store), store.manifest.skipped)
