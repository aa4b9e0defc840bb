"""Summarise a screen and its problems, as a dictionary and as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyjepa.config import validated
from anyjepa.data.cells.files import CellFileConfig, read_h5ad
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.modality import single
from anyjepa.data.summary import listed, rendered

if TYPE_CHECKING:
    from rich.console import Group

_OFF = QualityConfig(min_genes=0, max_mito=1, min_cells=0, min_condition_cells=0, min_guide_share=0)


def inspect(paths: Sequence[Path | str], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read every value of a screen and return its `report`; only cells without a condition are left out.

    JSON-able: records (cells), genes, conditions and controls with their numbers of cells, columns (which says what),
    obsm (further tables of the cells), values (counts or log1p, and from where), quantiles, perturbed names that
    are not genes of the panel, outside_usual (what the usual limits of quality would leave out). Raises InputError.
    """
    config = validated(CellFileConfig, settings or {}, "--set")
    config = config.model_copy(update={"quality": _OFF, "unassigned": "skip"})
    return read_h5ad(single(paths, "screen"), config).report


def render(report: dict[str, Any]) -> Group:
    """The dictionary of `inspect` as a rich renderable."""
    facts = {"cells": report["records"], "genes": report["genes"]}
    facts["values"] = f"{report['values']['kind']} from {report['values']['from']}"
    facts |= {role: f"column '{column}'" if column else "no column" for role, column in report["columns"].items()}
    facts |= {"obsm": listed(report["obsm"]) or "nothing", "control": listed(report["control_names"])}
    facts |= {"conditions": report["conditions"], "controls in": report["controls"]}
    for key in ("total_counts", "unlogged_total", "genes_detected", "mitochondrial_share", "guide_share"):
        if values := report.get(key):
            facts[key.replace("_", " ")] = f"{values['50%']:g} ({values['0%']:g} to {values['100%']:g})"
    outside = dict(report["outside_usual"])
    few = outside.pop("min_condition_cells")
    problems = [
        f"{count} of {report['genes' if key == 'min_cells' else 'records']} "
        f"{'genes' if key == 'min_cells' else 'cells'} are outside the usual quality.{key}"
        for key, count in outside.items()
        if count
    ]
    for names, meaning in (
        (few, "conditions have too few cells"),
        (report["strata_without_controls"], "strata have no control cell"),
        (report["perturbed_not_in_panel"], "perturbed names are not genes of the panel"),
    ):
        if names:
            problems += [f"{len(names)} {meaning}:", f"  {listed(names)}"]
    for reason, what in (("unassigned", "condition"), ("unlabelled", "batch, cell type or donor")):
        if number := report["left_out_cells"].get(reason):
            problems.append(f"{number} cells have no {what}")
    return rendered(facts, {}, problems, {})
