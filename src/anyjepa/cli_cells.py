"""`anyjepa evaluate` of cells: what is judged without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anyjepa.cli_options import Weights, console, echo, show_json
from anyjepa.errors import InputError

PROTOCOLS = ("perturbation", "proteins")


def evaluate_cells(
    protocol: str,
    model: str,
    data: list[Path],
    weights: Weights | None,
    chosen: dict[str, Any],
    edits: list[str],
    as_json: bool,
) -> None:
    """chosen: seeds and splits, of perturbations. Prints the result, and writes a run's report."""
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import find_run
    from anyjepa.runs.perturbations import evaluate_perturbations
    from anyjepa.runs.proteins import evaluate_proteins

    settings = {name: value for name, value in chosen.items() if value is not None}
    if protocol == "proteins" and settings:
        raise InputError("evaluate: --protocol proteins has one split and nothing random: no --seeds, no --folds")
    judge = evaluate_proteins if protocol == "proteins" else evaluate_perturbations
    with console(stderr=True).status("reading") as status:
        named = weights.value if weights else None
        result = judge(model, data, weights=named, file=edits, progress=status.update, **settings)
    report = write_report(run.folder) if (run := find_run(Path(model))) else None
    if as_json:
        show_json(json.loads(result.model_dump_json()))
        return
    echo(str(result), nl=False)
    if report:
        echo(f"report: {report}")
