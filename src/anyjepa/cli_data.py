"""The commands on data sets: `anyjepa data ...`."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli_options import Json, Leads, Rate, Unit, show, told

data_app = typer.Typer(help="What is in a data set, and what is wrong with it.", no_args_is_help=True)


class MissingLeads(StrEnum):
    refuse = "refuse"
    zero = "zero"


class OnError(StrEnum):
    raise_ = "raise"
    skip = "skip"


@data_app.command("inspect")
def data_inspect(
    paths: Annotated[list[Path], typer.Argument(help="ECG files or folders.")],
    fs: Rate = None,
    leads: Leads = None,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Records, rates, leads, patients, statements and amplitudes of a data set, and every problem found."""
    from anyjepa.data.ecg.inspection import inspect, render

    found = inspect(paths, fs=fs, leads=leads.split(",") if leads else None, unit=unit)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(render(found))


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
    from anyjepa.data.ecg.store_writing import prepare_store

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
