"""`anyjepa diagnose`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.options import (
    DataOption,
    ImportOption,
    JsonOption,
    LeadsOption,
    ModelArgument,
    RateOption,
    UnitOption,
    WeightsOption,
)
from anyjepa.cli.output import show, show_json


def diagnose(
    model: ModelArgument,
    data: DataOption = None,
    samples: Annotated[
        int, typer.Option(min=8, metavar="N", help="Number of records to use, evenly spaced over the data.")
    ] = 200,
    weights: WeightsOption = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    as_json: JsonOption = False,
    imports: ImportOption = None,
) -> None:
    """Look for collapse and other faults in a model or run, and suggest what to change.

    The exit status is 1 if a fault was found, and 0 otherwise.
    """
    from anyjepa.runs.diagnose import diagnose

    lead_names = leads.split(",") if leads else None
    diagnosis = diagnose(model, data or [], samples=samples, weights=weights, fs=fs, leads=lead_names, unit=unit)
    if as_json:
        show_json(diagnosis.plain())
    else:
        show(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(1)
