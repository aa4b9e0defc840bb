"""Read screens from `.h5ad` files and from AnnData in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from anyjepa.data.cells.columns import ROLES, Role, assign, find_columns, labels, missing_labels, numbers
from anyjepa.data.cells.conditions import Condition
from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.data.cells.naming import NONE, Naming
from anyjepa.data.cells.opening import Memory, Opened, open_anndata, open_h5ad
from anyjepa.data.cells.proteins import find_proteins
from anyjepa.data.cells.qc import QualityConfig, describe, refuse_most, scan
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import InputError
from anyjepa.limits import COLUMNS

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame


class CellFileConfig(Naming):
    """Columns and settings of a file. A column that is not set is found by usual names; 'none' means no column."""

    condition: str | None = Field(
        default=None, description="column: perturbation of the cell; 'none': no cell is perturbed"
    )
    batch: str | None = Field(default=None, description="column: cells processed together")
    cell_type: str | None = Field(default=None, description="column")
    donor: str | None = Field(default=None, description="column")
    dose: str | None = Field(default=None, description="column of numbers, in any unit")
    time: str | None = Field(default=None, description="column of numbers: time since the perturbation, in any unit")
    guide_share: str | None = Field(default=None, description="column: share of guide counts that the cell's guide has")
    proteins: str | None = Field(
        default=None, description="key of obsm: counts of surface proteins; read only if data.proteins is above 0"
    )
    values: Literal["auto", "counts", "log1p"] = Field(
        default="auto", description="raw counts, or log1p of scaled counts; auto: whole numbers are counts"
    )
    matrix: str | None = Field(
        default=None,
        description="X, raw/X or layers/NAME; none: the first of layers/counts, X and raw/X with whole numbers, else X "
        "(raw/X if X was scaled)",
    )
    gene_names: str | None = Field(
        default=None, description="column of var, or 'index'; none: the index, or symbols where that has Ensembl ids"
    )
    unassigned: Literal["raise", "skip"] = Field(
        default="raise", description="cells without a condition, batch, cell type or donor"
    )
    memory: Memory = Field(
        default="auto", description="load the values, or leave them in the file; auto: leave more than 1 GB there"
    )
    quality: QualityConfig = QualityConfig()


WITHOUT_FILTERS = CellFileConfig(
    **dict.fromkeys(("condition", "batch", "cell_type", "dose", "time", "guide_share"), NONE),
    unassigned="skip",
    quality=QualityConfig(min_genes=0, max_mito=1, min_cells=0, min_condition_cells=0, min_guide_share=0),
)
"""For uses that need only expression: all cells, whether perturbed or not."""


def read_h5ad(path: Path | str, config: CellFileConfig | None = None, proteins: bool = False) -> Screen:
    """Read a screen from a file; its `report` lists what the file has and what is left out.

    proteins: also read proteins. Raises InputError.
    """
    path, config = Path(path), config or CellFileConfig()
    try:
        opened = open_h5ad(path, config.memory)
    except ImportError as error:
        raise InputError(f"{path}: needs the anndata package: pip install 'anyjepa[cells]'") from error
    return _screen(opened, config, proteins)


def from_anndata(adata: AnnData, config: CellFileConfig | None = None, proteins: bool = False) -> Screen:
    """Create a screen from AnnData in memory; see `read_h5ad`."""
    if adata.isbacked:
        raise InputError(f"AnnData is backed by {adata.filename}; read that file")
    return _screen(open_anndata(adata, "AnnData"), config or CellFileConfig(), proteins)


def _screen(opened: Opened, config: CellFileConfig, with_proteins: bool) -> Screen:
    where, obs, quality = opened.where, opened.obs, config.quality
    if not len(obs) or not len(opened.var):
        raise InputError(f"{where}: has {len(obs)} cells and {len(opened.var)} genes; it needs at least one of each")
    COLUMNS.check(max(len(opened.var), len(opened.raw_names)), f"{where}: a cell")
    columns, questions = find_columns(obs, {role: getattr(config, role) for role in ROLES}, where)
    genes = opened.gene_names(config.gene_names)
    conditions, number, controls = _conditions(obs, columns, questions, genes, config, where)
    usable, left_out, guides = _assigned(opened, config, columns, number)
    key, values, counted = opened.matrix(config.matrix, config.values)
    shown = _shown(opened, key)  # columns of `values`, because raw may have more genes
    measured = genes if shown is None else opened.raw_names
    scanned = scan(values, counted, obs.index, measured, usable, quality, where)
    left_out |= scanned.left_out

    size, enough = _enough(number[scanned.kept], conditions, quality.min_condition_cells, where)
    few = {str(conditions[n]): int(size[n]) for n in np.flatnonzero(~enough)}
    cells = np.flatnonzero(scanned.kept & enough[number])
    left_out["min_condition_cells"] = int(scanned.kept.sum()) - len(cells)
    new_number = np.cumsum(enough) - 1
    conditions = tuple(condition for condition, some in zip(conditions, enough, strict=True) if some)

    perturbed = {name for condition in conditions for name in condition.names}
    seen = scanned.seen if shown is None else scanned.seen[shown]
    frequent = np.array([n >= quality.min_cells or gene in perturbed for gene, n in zip(genes, seen, strict=True)])
    proteins = find_proteins(opened, config.proteins) if with_proteins else None
    columns_of = np.flatnonzero(frequent) if shown is None else shown[frequent]
    screen = Screen(
        ids=tuple(map(str, obs.index[cells])),
        genes=tuple(gene for gene, often in zip(genes, frequent, strict=True) if often),
        conditions=conditions,
        condition=new_number[number[cells]],
        values=_select(values, cells, columns_of),
        library=scanned.library[cells] if counted else None,
        batch=labels(obs, columns["batch"], cells, where),
        cell_type=labels(obs, columns["cell_type"], cells, where),
        donor=labels(obs, columns["donor"], cells, where),
        proteins=None if proteins is None else proteins[cells],
        source=where,
    )
    screen.report.update(
        {
            **describe(screen, scanned.take(cells, columns_of), None if guides is None else guides[cells]),
            "file": {"cells": len(obs), "genes": len(genes)},
            "columns": columns,
            "control_names": controls,
            "obsm": list(opened.obsm),
            "values": {
                "kind": "counts" if counted else "log1p",
                "from": key,
                "declared": config.values != "auto",
                "stay_in_file": isinstance(values, BackedMatrix),
            },
            "left_out_cells": left_out,
            "left_out_genes": int((~frequent).sum()),
            "left_out_conditions": few,
        }
    )
    return screen


def _conditions(
    obs: DataFrame,
    columns: Mapping[Role, str | None],
    questions: list[str],
    genes: tuple[str, ...],
    config: CellFileConfig,
    where: str,
) -> tuple[tuple[Condition, ...], np.ndarray, list[str]]:
    """Call `assign`, and ask all questions about columns and controls in one InputError."""
    if columns["condition"] is not None or config.condition == NONE:
        try:
            assigned = assign(obs, columns, genes, config, where)
        except InputError as error:
            questions = [*questions, str(error).removeprefix(f"{where}: ")]
        else:
            if not questions:
                return assigned
    raise InputError(f"{where}: {'; also: '.join(questions)}")


def _enough(
    number: np.ndarray, conditions: tuple[Condition, ...], least: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Count the cells of each condition, and whether they are enough.

    Raises InputError if the control, or every other condition, has too few.
    """
    size, least = np.bincount(number, minlength=len(conditions)), max(least, 1)
    largest = {"the control": int(size[0])}
    if len(size) > 1:  # otherwise all cells are controls, such as cells to embed
        largest["the largest condition"] = int(size[1:].max())
    for what, cells in largest.items():
        if cells < least:
            lower = f"; pass --set quality.min_condition_cells={cells} to keep it" if cells else " after the filters"
            raise InputError(f"{where}: {what} has {cells} cells, and quality.min_condition_cells is {least}{lower}")
    return size, size >= least


def _assigned(
    opened: Opened, config: CellFileConfig, columns: Mapping[Role, str | None], number: np.ndarray
) -> tuple[np.ndarray, dict[str, int], np.ndarray | None]:
    """Select cells with a sure condition, (N,) bool; also returns counts of the others by reason, and guide shares."""
    where, usable = opened.where, number >= 0
    left_out = {"unassigned": int((~usable).sum())}
    if config.unassigned == "raise" and left_out["unassigned"]:
        first = int((~usable).argmax())
        text = opened.obs[columns["condition"]].iloc[first]
        shown = f" ('{text}')" if isinstance(text, str) and text else ""
        raise InputError(
            f"{where}: {left_out['unassigned']} cells have no condition in column '{columns['condition']}'; the first "
            f"is '{opened.obs.index[first]}'{shown}; unassigned=skip leaves them out"
        )
    if config.unassigned == "skip":
        labelled = usable & ~missing_labels(opened.obs, columns)
        if unlabelled := int((usable & ~labelled).sum()):
            left_out["unlabelled"] = unlabelled
        usable = labelled
    if columns["guide_share"] is None:
        return usable, left_out, None
    share = numbers(opened.obs, columns["guide_share"], where, "guide_share")
    least = config.quality.min_guide_share
    unsure = usable & ~(share >= least)
    refuse_most(
        unsure,
        usable,
        f"{where}: quality.min_guide_share={least:g}",
        "set quality.min_guide_share (0 turns the filter off)",
    )
    return usable & ~unsure, left_out | {"min_guide_share": int(unsure.sum())}, share


def _shown(opened: Opened, key: str) -> np.ndarray | None:
    """Columns of raw/X for the genes of var; None for a matrix that has the genes of var."""
    if not key.startswith("raw/"):
        return None
    place = {name: column for column, name in enumerate(opened.raw_names)}
    index = list(map(str, opened.var.index))
    if len(place) < len(opened.raw_names):
        raise InputError(f"{opened.where}: a gene of raw occurs twice; make the names unique, or set matrix=X")
    if missing := [name for name in index if name not in place]:
        raise InputError(f"{opened.where}: {len(missing)} genes of var are not in raw; the first is '{missing[0]}'")
    return np.array([place[name] for name in index], np.int64)


def _select(values: Any, cells: np.ndarray, genes: np.ndarray) -> Any:
    """Select rows and columns, without a copy where nothing changes."""
    rows = None if len(cells) == values.shape[0] else cells
    columns = None if len(genes) == values.shape[1] and (np.diff(genes) > 0).all() else genes
    if isinstance(values, BackedMatrix):
        return values.take(rows, columns)
    values = values if rows is None else values[rows]
    return values if columns is None else values[:, columns]
