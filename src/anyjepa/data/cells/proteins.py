"""Surface proteins of the same cells, counted by antibodies (CITE-seq): a second modality next to expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from anyjepa.data.cells.opening import Opened

USUAL = ("protein_expression", "proteins", "protein", "prot", "adt", "antibody_capture")
"""Keys of obsm that hold proteins, whatever their case."""
LARGEST_COUNT = 2**31  # more molecules of a kind than any cell has, and far below an overflow


@dataclass(frozen=True, eq=False)
class Proteins:
    """Counts of P proteins in N cells."""

    names: tuple[str, ...]
    counts: np.ndarray  # (N, P) float32

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, cells: np.ndarray) -> Proteins:
        return Proteins(self.names, self.counts[cells])

    def levels(self, cells: np.ndarray) -> np.ndarray:
        """Centred log ratios (B, P) float32: log1p of counts minus the cell's mean over proteins.

        A factor that scales all proteins of a cell nearly cancels (Stoeckius et al. 2017).
        """
        logs = np.log1p(self.counts[cells])
        return logs - logs.mean(1, keepdims=True)

    def select(self, names: Sequence[str], where: str) -> Proteins:
        """Select proteins, in this order. Raises InputError for one that is missing."""
        place = {name: column for column, name in enumerate(self.names)}
        if missing := [name for name in names if name not in place]:
            hint = did_you_mean(missing[0], self.names)
            raise InputError(f"{where}: {len(missing)} of {len(names)} proteins are missing: '{missing[0]}'{hint}")
        return Proteins(tuple(names), self.counts[:, [place[name] for name in names]])


def find_proteins(opened: Opened, key: str | None) -> Proteins:
    """Read the proteins of all cells of a file, from this key of obsm or the one with a usual name.

    Raises InputError if there is no such key, if the table lacks names or has other cells, and for values other than
    counts.
    """
    if key is None:
        keys = [name for name in opened.obsm if name.lower() in USUAL]
        if len(keys) > 1:
            both = " and obsm/".join(keys)
            raise InputError(f"{opened.where}: obsm/{both} could each be proteins; set proteins=KEY")
        if not keys:
            raise InputError(
                f"{opened.where}: no obsm table has a usual name for proteins such as 'protein_expression' or 'adt'; "
                "set "
                f"proteins=KEY; the tables are: {', '.join(opened.obsm) or 'none'}"
            )
        key = keys[0]
    if key not in opened.obsm:
        raise InputError(f"{opened.where}: there is no obsm/{key} (proteins){did_you_mean(key, opened.obsm)}")
    return _checked(opened.obsm[key](), list(map(str, opened.obs.index)), f"{opened.where}: obsm/{key}")


def _checked(table: Any, cells: list[str], where: str) -> Proteins:
    if not hasattr(table, "columns"):
        raise InputError(f"{where}: proteins need names: use a DataFrame with one column per protein")
    names = tuple(map(str, table.columns))
    if len(table) != len(cells):
        raise InputError(f"{where}: has {len(table)} rows for {len(cells)} cells")
    for own, cell in zip(map(str, table.index), cells, strict=True):
        if own != cell:
            raise InputError(f"{where}: has row '{own}' where obs has cell '{cell}'; sort it like obs")
    if len(set(names)) < len(names) or len(names) < 2:
        raise InputError(f"{where}: needs at least two proteins with distinct names")
    try:
        counts = table.to_numpy()
        if np.iscomplexobj(counts):
            raise TypeError
        counts = counts.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{where}: proteins must be numbers") from None
    wrong = ~((counts >= 0) & (counts <= LARGEST_COUNT) & (counts == np.rint(counts)))
    for row, column in np.argwhere(wrong)[:1]:
        raise InputError(
            f"{where}: protein '{names[column]}' of cell '{table.index[row]}' is {counts[row, column]:g}; raw counts "
            "are needed, whole and not negative"
        )
    return Proteins(names, counts.astype(np.float32))
