"""Quality control: filters for cells, genes and conditions, and a report of what remains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt

from anyjepa.config import Config, Share
from anyjepa.data.cells.proteins import LARGEST_COUNT
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import InputError

BLOCK = 4096  # cells that are checked at a time
BLOCK_VALUES = 2**27  # most values that are checked at a time, including zeros
LARGEST_LOG = 15.0  # above log1p of a million
WHOLE = "values are declared as log1p, but all are whole numbers; if they are counts, set values=counts"
MIN_GENES, SMALL_PANEL = 200, 2000
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class QualityConfig(Config):
    """Cells, genes and conditions that are left out, and counted. 0 (for max_mito 1) turns a filter off."""

    min_genes: NonNegativeInt | None = Field(
        default=None,
        description=f"genes detected in a cell; none: {MIN_GENES}, or 5 % of a panel of fewer than {SMALL_PANEL} genes",
    )
    max_mito: Share = Field(default=0.2, description="share of mitochondrial counts in a cell (genes named MT-)")
    min_cells: NonNegativeInt = Field(default=3, description="cells in which a gene is seen; perturbed genes stay")
    min_condition_cells: NonNegativeInt = Field(default=30, description="cells of a condition")
    min_guide_share: Share = Field(default=0.5, description="share of a cell's guide counts that its guide has")

    def genes_needed(self, panel: int) -> int:
        """Fewest genes that must be detected in a cell, for a panel of this many genes."""
        if self.min_genes is not None:
            return self.min_genes
        return MIN_GENES if panel >= SMALL_PANEL else panel // 20


@dataclass(frozen=True, eq=False)
class Scan:
    """Results of one pass over all values."""

    library: np.ndarray  # (N,) sum of each cell
    detected: np.ndarray  # (N,) genes above zero
    mito: np.ndarray | None  # (N,) share of mitochondrial counts; None: the panel has no such gene
    seen: np.ndarray  # (G,) kept cells in which each gene is above zero
    kept: np.ndarray  # (N,) cells that pass the filters
    left_out: dict[str, int]  # cells that each filter removed, in order

    def take(self, cells: np.ndarray, genes: np.ndarray) -> Scan:
        """Restrict the results to these cells and genes."""
        mito = None if self.mito is None else self.mito[cells]
        return replace(
            self, library=self.library[cells], detected=self.detected[cells], mito=mito, seen=self.seen[genes]
        )


def scan(
    values: Any, counted: bool, ids: Any, genes: tuple[str, ...], usable: np.ndarray, config: QualityConfig, where: str
) -> Scan:
    """Check every value (N, G) and apply the cell filters, in one pass over blocks of cells.

    usable: (N,) cells that have passed earlier filters. Raises InputError for values that are negative, not finite, or
    contradict `counted`, and for a filter that removes most cells.
    """
    from scipy.sparse import csr_matrix

    number = len(ids)
    mitochondrial = np.array([gene.upper().startswith("MT-") for gene in genes])
    library, detected, mito = np.zeros(number), np.zeros(number, np.int64), np.zeros(number)
    seen, kept = np.zeros(len(genes), np.int64), usable.copy()
    whole, total, needed = True, 0.0, config.genes_needed(len(genes))
    rows = max(1, min(BLOCK, BLOCK_VALUES // len(genes)))
    for start in range(0, number, rows):
        cells = np.arange(start, min(start + rows, number))
        block: Any = csr_matrix(values[cells])
        whole = whole and bool((block.data == np.rint(block.data)).all())
        if not counted and whole and block.max() > LARGEST_LOG:
            raise InputError(f"{where}: {WHOLE}")
        _check(
            block, counted, lambda row, column, first=start: f"cell '{ids[first + row]}', gene '{genes[column]}'", where
        )
        total += float(block.data.sum())
        block.eliminate_zeros()
        block = block.astype(np.float64)
        if not counted:
            np.expm1(block.data, out=block.data)
        library[cells] = np.asarray(block.sum(1)).ravel()
        detected[cells] = np.diff(block.indptr)
        mito[cells] = np.asarray(block[:, mitochondrial].sum(1)).ravel() / np.maximum(library[cells], 1e-12)
        kept[cells] &= (detected[cells] >= needed) & (mito[cells] <= config.max_mito)
        seen += np.bincount(block[kept[cells]].indices, minlength=len(genes))
    if not counted and whole and total:
        raise InputError(f"{where}: {WHOLE}")
    if not total:
        raise InputError(f"{where}: no value is above zero")
    if not usable.any():
        raise InputError(f"{where}: no cell is left; all are unassigned, or below quality.min_guide_share")
    few = usable & (detected < needed)
    refuse_most(
        few,
        usable,
        f"{where}: quality.min_genes={needed}",
        f"the panel has {len(genes)} genes, and the median cell {np.median(detected[usable]):.0f} of them; "
        "set quality.min_genes (0 turns the filter off)",
    )
    much = usable & ~few & (mito > config.max_mito)
    refuse_most(
        much, usable, f"{where}: quality.max_mito={config.max_mito:g}", "set quality.max_mito (1 turns the filter off)"
    )
    left_out = {"min_genes": int(few.sum()), "max_mito": int(much.sum())}
    return Scan(library, detected, mito if mitochondrial.any() else None, seen, kept, left_out)


def refuse_most(failed: np.ndarray, usable: np.ndarray, which: str, hint: str) -> None:
    """Raise InputError if a filter removes more than half of the cells, because it does not fit the data."""
    if 2 * failed.sum() > usable.sum():
        raise InputError(f"{which} removes {int(failed.sum())} of {int(usable.sum())} cells; {hint}")


def describe(screen: Screen, scan: Scan, guides: np.ndarray | None) -> dict[str, Any]:
    """Describe the kept cells for the report. scan, guides: values of these cells, in the order of the screen."""
    number = np.bincount(screen.condition, minlength=len(screen.conditions)).tolist()
    usual = QualityConfig()
    few = [str(c) for c, n in zip(screen.conditions, number, strict=True) if n < usual.min_condition_cells]
    return {
        "records": len(screen),
        "genes": len(screen.genes),
        "conditions": {str(c): n for c, n in zip(screen.conditions, number, strict=True)},
        "total_counts" if screen.has_counts else "unlogged_total": quantiles(scan.library),
        "genes_detected": quantiles(scan.detected),
        "mitochondrial_share": quantiles(scan.mito),
        "guide_share": quantiles(guides),
        **_strata(screen),
        "perturbed_not_in_panel": sorted(set(screen.perturbations) - set(screen.genes)),
        "outside_usual": {  # kept cells that the usual limits would leave out
            "min_genes": int((scan.detected < usual.genes_needed(len(screen.genes))).sum()),
            "max_mito": 0 if scan.mito is None else int((scan.mito > usual.max_mito).sum()),
            "min_guide_share": 0 if guides is None else int((~(guides >= usual.min_guide_share)).sum()),
            "min_cells": int((scan.seen < usual.min_cells).sum()),
            "min_condition_cells": few,
        },
    }


def quantiles(values: np.ndarray | None) -> dict[str, float] | None:
    """Minimum, quantiles at 5, 25, 50, 75 and 95 %, and maximum; None if unknown."""
    if values is None or not len(values):
        return None
    return {f"{100 * q:g}%": round(float(np.quantile(values, q)), 4) for q in QUANTILES}


def _strata(screen: Screen) -> dict[str, Any]:
    """Control cells in each batch x cell type that has cells, and those that have none."""
    columns = [(name, column) for name in ("batch", "cell_type") if (column := getattr(screen, name)) is not None]
    codes = np.stack([column.codes for _, column in columns], 1) if columns else np.zeros((len(screen), 1), np.int64)
    strata, place = np.unique(codes, axis=0, return_inverse=True)
    controls = np.bincount(place.ravel()[screen.controls], minlength=len(strata)).tolist()
    names = [" x ".join(column.names[code] for (_, column), code in zip(columns, row, strict=False)) for row in strata]
    control_counts = {name or "all": n for name, n in zip(names, controls, strict=True)}
    return {
        "controls": control_counts,
        "strata_without_controls": [name for name, n in control_counts.items() if not n],
    }


def _check(block: Any, counted: bool, place: Any, where: str) -> None:
    """Raise InputError with the first impossible value and its position."""
    data = block.data
    if not len(data):
        return
    for wrong, what in (
        (~np.isfinite(data), "is not finite"),
        (
            data < 0,
            "is negative, so these are neither counts nor log1p; if X was scaled, keep the values from before in "
            "layers['counts'] or in raw",
        ),
        (
            (data != np.rint(data)) if counted else np.zeros(0),
            "is not a whole number, so these are not raw counts; if they are log1p, set values=log1p",
        ),
        (data > LARGEST_COUNT if counted else np.zeros(0), "is too large for a count"),
        (
            np.zeros(0) if counted else data > LARGEST_LOG,
            "is too large for log1p; normalise, then take log1p, or keep raw counts in layers['counts']",
        ),
    ):
        if wrong.any():
            entry = int(wrong.argmax())
            row = int(np.searchsorted(block.indptr, entry, side="right")) - 1
            raise InputError(f"{where}: {place(row, block.indices[entry])}: value {data[entry]:g} {what}")
