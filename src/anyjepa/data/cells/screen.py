"""A perturbation screen: the common form of cells for training and evaluation, in memory or backed by a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anyjepa.data.cells.conditions import Condition
from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.data.cells.proteins import Proteins
from anyjepa.errors import InputError, did_you_mean

SCALE = 10_000
"""Counts that a cell is scaled to before log1p."""
PER_CELL = ("batch", "cell_type", "donor", "proteins")  # fields that a screen may have
BLOCK = 1024  # cells that are dense at a time in a pass over all cells


@dataclass(frozen=True, eq=False)
class Labels:
    """A text for each of N cells: `names[codes[i]]`."""

    names: tuple[str, ...]
    codes: np.ndarray  # (N,) integers

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, cells: np.ndarray) -> Labels:
        return Labels(self.names, self.codes[cells])


@dataclass(frozen=True, eq=False, kw_only=True)
class Screen:
    """Expression of N cells and G genes, with the condition of each cell. Condition 0 is the control.

    Raises InputError if the parts do not fit each other, or if a cell or a gene occurs twice.
    """

    ids: tuple[str, ...]  # ids of the cells
    genes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    condition: np.ndarray  # (N,) index of each cell's condition in `conditions`
    values: Any  # (N, G) array, csr or BackedMatrix: raw counts, or log1p values if there are no counts
    library: np.ndarray | None  # (N,) counts of each cell over all genes measured; None: `values` are log1p
    batch: Labels | None = None
    cell_type: Labels | None = None
    donor: Labels | None = None
    proteins: Proteins | None = None
    truth: np.ndarray | None = None  # (conditions, G) expected expression, if simulated
    features: Mapping[str, np.ndarray] | None = None  # features of genes or compounds by name, if it has any
    source: str = ""
    report: dict[str, Any] = field(default_factory=dict)  # what was read, detected and left out; JSON-able

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.genes))
        if tuple(self.values.shape) != shape:
            raise InputError(f"{self.source}: values have shape {tuple(self.values.shape)}, not (cells, genes) {shape}")
        columns = {"condition": self.condition, "library": self.library}
        columns |= {name: getattr(self, name) for name in PER_CELL}
        for name, column in columns.items():
            if column is not None and len(column) != len(self.ids):
                raise InputError(f"{self.source}: {name} has {len(column)} entries for {len(self.ids)} cells")
        if not self.conditions or not self.conditions[0].is_control:
            raise InputError(f"{self.source}: condition 0 must be the control")
        for what, names in (("cell", self.ids), ("gene", self.genes), ("condition", self.conditions)):
            if len(set(names)) < len(names):
                raise InputError(f"{self.source}: {what} '{_twice(names)}' occurs twice")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        counts = f"{len(self):,} cells, {len(self.genes):,} genes, {len(self.conditions):,} conditions"
        return f"Screen({counts}, control {len(self.controls):,})"

    @property
    def has_amounts(self) -> bool:
        """Whether a perturbation has a dose or a time, so that its name alone does not identify it."""
        return any(one.dose is not None or one.time is not None for condition in self.conditions for one in condition)

    def without_constant_amounts(self) -> Screen:
        """Remove a dose or a time that is the same for all perturbations, because it does not distinguish them."""
        screen = self
        for of in ("dose", "time"):
            if len({getattr(one, of) for condition in screen.conditions for one in condition}) == 1:
                plain = [
                    Condition(frozenset(replace(one, **{of: None}) for one in condition))
                    for condition in screen.conditions
                ]
                screen = replace(screen, conditions=tuple(plain))
        return screen

    @property
    def has_counts(self) -> bool:
        """Whether the screen has raw counts."""
        return self.library is not None

    @property
    def controls(self) -> np.ndarray:
        """Rows of the control cells."""
        return np.flatnonzero(self.condition == 0)

    @property
    def perturbations(self) -> tuple[str, ...]:
        """Names of the genes and compounds of all conditions, sorted."""
        return tuple(sorted({name for condition in self.conditions for name in condition.names}))

    def rows(self, cells: np.ndarray) -> np.ndarray:
        """Expression (B, G) float32: log1p of counts scaled to 10,000 per cell; without counts, as in the file."""
        block = self.values[cells]
        if self.library is None:
            return _dense(block)
        scale = (SCALE / np.maximum(self.library[cells], 1)).astype(np.float32)
        if isinstance(block, np.ndarray):
            return np.log1p(block.astype(np.float32, copy=False) * scale[:, None])
        block = block.astype(np.float32)
        block.data = np.log1p(block.data * np.repeat(scale, np.diff(block.indptr)))
        return block.toarray()

    def counts(self, cells: np.ndarray) -> np.ndarray:
        """Raw counts, (B, G) float32. Raises InputError if the screen has none."""
        if not self.has_counts:
            raise InputError(
                f"{self.source}: has log1p values only; raw counts must be kept in layers['counts'] or .raw"
            )
        return _dense(self.values[cells])

    def means(self, cells: np.ndarray | None = None) -> np.ndarray:
        """Mean expression of these cells by condition, (conditions, G) float64; NaN for a condition without cells."""
        cells = np.arange(len(self)) if cells is None else np.sort(cells)
        sums = np.zeros((len(self.conditions), len(self.genes)))
        for start in range(0, len(cells), BLOCK):
            block = cells[start : start + BLOCK]
            present, place = np.unique(self.condition[block], return_inverse=True)
            sums[present] += (np.arange(len(present))[:, None] == place).astype(np.float32) @ self.rows(block)
        number = np.bincount(self.condition[cells], minlength=len(self.conditions))
        return np.divide(sums, number[:, None], out=np.full_like(sums, np.nan), where=number[:, None] > 0)

    def select(self, cells: np.ndarray | None = None, genes: Sequence[str] | None = None) -> Screen:
        """Select cells (rows) and genes, in this order; the library size stays that of all genes measured.

        Raises InputError for a missing gene.
        """
        columns = None if genes is None else self._columns(genes)
        values = self.values
        if isinstance(values, BackedMatrix):
            values = values.take(cells, columns)
        else:
            values = values if cells is None else values[cells]
            values = values if columns is None else values[:, columns]
        changes: dict[str, Any] = {"values": values}
        if columns is not None:
            changes["genes"] = tuple(self.genes[column] for column in columns)
            changes["truth"] = None if self.truth is None else self.truth[:, columns]
        if cells is not None:
            changes["ids"] = tuple(self.ids[cell] for cell in cells)
            for name in ("condition", "library", *PER_CELL):
                column = getattr(self, name)
                changes[name] = None if column is None else column[cells]
        return replace(self, **changes)

    def _columns(self, genes: Sequence[str]) -> np.ndarray:
        place = {gene: column for column, gene in enumerate(self.genes)}
        if missing := [gene for gene in genes if gene not in place]:
            hint = did_you_mean(missing[0], self.genes) if len(self.genes) <= 50_000 else ""
            raise InputError(f"{self.source}: {len(missing)} of {len(genes)} genes are missing: '{missing[0]}'{hint}")
        return np.array([place[gene] for gene in genes], np.int64)


def _dense(block: Any) -> np.ndarray:
    return (block if isinstance(block, np.ndarray) else block.toarray()).astype(np.float32, copy=False)


def _twice(names: Sequence[Any]) -> Any:
    seen = set()
    return next(name for name in names if name in seen or seen.add(name))
