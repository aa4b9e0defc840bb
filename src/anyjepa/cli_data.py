"""The commands on data sets: `anyjepa data ...`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyjepa.cli_options import Json, Leads, Rate, Unit, echo, show, show_json, told
from anyjepa.errors import InputError

if TYPE_CHECKING:
    from anyjepa.data.cells.files import CellFileConfig

data_app = typer.Typer(help="What is in a data set, and what is wrong with it.", no_args_is_help=True)


class MissingLeads(StrEnum):
    refuse = "refuse"
    zero = "zero"


class Kind(StrEnum):
    ecg = "ecg"
    images = "images"
    cells = "cells"


class OnError(StrEnum):
    raise_ = "raise"
    skip = "skip"


@data_app.command("inspect")
def data_inspect(
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders, or one set of images or .h5ad.")],
    kind: Annotated[Kind | None, typer.Option(help="What the data are. Default: as the names of files tell.")] = None,
    fs: Rate = None,
    leads: Leads = None,
    unit: Unit = None,
    edits: Annotated[
        list[str] | None, typer.Option("--set", help="Of cells: what a column is, e.g. condition=gene, values=counts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a data set holds (of ECGs rates, leads, patients, statements, amplitudes; of images sizes, classes, split;
    of cells conditions, controls, counts), and every problem found."""
    from anyjepa.data.cells import inspection as cells
    from anyjepa.data.ecg import inspection as ecg
    from anyjepa.data.images import inspection as images
    from anyjepa.data.images.reading import recognise

    is_cells = kind is Kind.cells or (kind is None and all(path.suffix.lower() == ".h5ad" for path in paths))
    if edits and not is_cells:
        raise InputError("--set is for cells (.h5ad)")
    if is_cells:
        found, render = cells.inspect(_one(paths, "screen"), _cell_files(edits or ())), cells.render
    elif kind is Kind.images or (kind is None and all(map(recognise, paths))):
        found, render = images.inspect(_one(paths, "set of images")), images.render
    else:
        found = ecg.inspect(paths, fs=fs, leads=leads.split(",") if leads else None, unit=unit)
        render = ecg.render
    if as_json:
        show_json(found)
    else:
        show(render(found))


def _one(paths: Sequence[Path], what: str) -> Path:
    if len(paths) > 1:
        raise InputError(f"give one {what} at a time, not {len(paths)}")
    return paths[0]


def _cell_files(edits: Sequence[str]) -> CellFileConfig:
    from anyjepa.config import validated
    from anyjepa.data.cells.files import CellFileConfig

    plain: dict[str, Any] = {}
    if edits:
        from anyjepa.recipes.schema import apply_edit  # slow: it knows the objectives

        for edit in edits:
            apply_edit(plain, edit)
    return validated(CellFileConfig, plain, "--set")


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder. Default: the user's cache.")] = None,
) -> None:
    """Fetch a published data set, checked by its MD5. An interrupted download is gone on with."""
    from anyjepa.data.images.sets.download import download

    archive = download(name, output)
    echo(f"{archive}")
    echo(f"next: anyjepa data inspect {archive}", err=True)


@data_app.command("prepare")
def data_prepare(
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the store to make.")],
    fs: Annotated[float, typer.Option(help="Hz that all records are brought to.")] = 500.0,
    leads: Annotated[str | None, typer.Option(help="I,II,V1 ... in this order. Default: the standard twelve.")] = None,
    missing_leads: Annotated[
        MissingLeads, typer.Option(help="A lead that a record lacks: an error, or nothing, read as zero.")
    ] = MissingLeads.refuse,
    highpass_hz: Annotated[
        float | None, typer.Option(help="Take out baseline wander below this, Hz (CODE-15, St. Petersburg: 0.5).")
    ] = None,
    unit: Unit = None,
    on_error: Annotated[
        OnError, typer.Option(help="A file that cannot be read or prepared: stop, or leave it out.")
    ] = OnError.raise_,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")] = None,
) -> None:
    """Write ECGs as a store, which --data reads as it reads a folder. Stopped, the same command goes on with it."""
    from anyjepa.data.ecg.checks import warn_about
    from anyjepa.data.ecg.leads import LEADS
    from anyjepa.data.ecg.stores.writing import prepare_store

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
    told(output, len(store), store.manifest.skipped)
