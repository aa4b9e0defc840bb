"""`anyjepa compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli.options import ImportOption, JsonOption
from anyjepa.cli.output import show, show_json


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders; the first one is the reference.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write an HTML page with curves.")
    ] = None,
    as_json: JsonOption = False,
    imports: ImportOption = None,
) -> None:
    """Compare runs: the settings that differ, how training went, and scores with paired differences."""
    from anyjepa.runs.compare import compare

    comparison = compare(runs)
    if output is not None:
        from anyjepa.report.comparison import write_comparison

        write_comparison(comparison, output)
    show_json(comparison.plain()) if as_json else show(comparison)
