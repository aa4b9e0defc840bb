"""Cells for training: single cells, and pairs of a control and a matched perturbed cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from anyjepa.config import Config, Share
from anyjepa.data.cells.conditions import CONTROL, since
from anyjepa.data.cells.matching import Controls
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.screen import Screen
from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable
from anyjepa.data.pair import Pair

LARGEST_TABLE = 10**8  # most values of a label table; tasks with more are left out


class HiddenGenes(Config):
    """The first phase: a cell is predicted from some of its genes, without a condition."""

    share: Share = Field(
        default=0.5, lt=1, description="share of genes that are hidden; the others are scaled up to compensate"
    )
    steps: NonNegativeInt = Field(default=500, description="training steps of this phase; then pairs of cells follow")


WITHOUT_PHASE = HiddenGenes(steps=0)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class CellDataset(Dataset):
    """`dataset[i]` is a cell, (1, G) float32 log1p expression.

    A pair is a matched control and the cell, with the cell's condition; or an earlier cell and the cell, with the time
    between them. A control is paired with itself, without a condition. In the first phase, a pair is the cell with
    hidden genes and the whole cell. If the model has proteins, it is the cell and its protein levels, (1, P) float32.
    """

    what: ClassVar[tuple[str, str]] = ("cells", "donors")

    screen: Screen  # with the genes of the model
    rows: np.ndarray  # (N,) rows of the screen
    preprocessing: CellPreprocessing
    controls: Controls | None = None  # of the perturbed cells among `rows`; None: no pairs
    hidden: HiddenGenes = WITHOUT_PHASE

    @classmethod
    def of(
        cls,
        screen: Screen,
        rows: np.ndarray,
        preprocessing: CellPreprocessing,
        controls: Controls | None = None,
        hidden: HiddenGenes = WITHOUT_PHASE,
    ) -> CellDataset:
        """Create a dataset from rows of a screen, with their labels as tasks."""
        ids = tuple(screen.ids[row] for row in rows)
        donor = screen.donor
        return cls(
            ids=ids,
            groups=ids if donor is None else tuple(donor.names[code] for code in donor.codes[rows]),
            groups_known=donor is not None,
            source=(screen.source,) * len(rows),
            preprocessing=preprocessing,
            tables=_tables(screen, rows, ids),
            screen=screen,
            rows=rows,
            controls=controls,
            hidden=hidden,
        )

    @classmethod
    def whole(cls, screen: Screen, preprocessing: CellPreprocessing) -> CellDataset:
        """Create a dataset from all cells of a screen. Raises InputError for missing genes."""
        fitted = preprocessing.fit(screen)
        return cls.of(fitted, np.arange(len(fitted)), preprocessing)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.screen.rows(self.rows[index : index + 1])

    @property
    def longest(self) -> int:
        return len(self.screen.genes)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Whole cells (B, 1, G); nothing is sampled."""
        return self.screen.rows(self.rows[list(indices)])[:, None], np.zeros(len(indices), np.int64)

    def pairs(
        self,
        indices: Sequence[int],
        first: Sequence[np.random.Generator],
        second: Sequence[np.random.Generator],
        step: int,
    ) -> tuple[np.ndarray, Pair[np.ndarray]]:
        rows, encode = self.rows[list(indices)], self.preprocessing.encoding.encode
        if self.preprocessing.proteins:
            assert self.screen.proteins is not None, "training data of a model of proteins have proteins"
            return self.screen.rows(rows)[:, None], Pair(self.screen.proteins.levels(rows)[:, None])
        cells, condition = self.screen.rows(rows)[:, None], self.screen.condition[rows]
        if step < self.hidden.steps or self.controls is None:
            kept = np.stack([rng.random(cells.shape[2]) >= self.hidden.share for rng in first])[:, None]
            return cells * kept / np.float32(1 - self.hidden.share), Pair(cells, *encode([CONTROL] * len(rows)))
        before, perturbed = rows.copy(), condition != 0
        drawn = np.array([rng.random() for rng in first])
        before[perturbed] = self.controls.match(rows[perturbed], drawn[perturbed])
        conditions = self.screen.conditions
        passed = [
            since(conditions[a], conditions[b]) for a, b in zip(self.screen.condition[before], condition, strict=True)
        ]
        return self.screen.rows(before)[:, None], Pair(cells, *encode(passed))


def _tables(screen: Screen, rows: np.ndarray, ids: tuple[str, ...]) -> dict[str, LabelTable]:
    """Labels and perturbations of the cells as tasks, if they have at least two classes."""
    labelled = {"cell_type": screen.cell_type, "batch": screen.batch, "donor": screen.donor}
    columns = {name: (labels.names, labels.codes[rows]) for name, labels in labelled.items() if labels is not None}
    columns["perturbation"] = tuple(map(str, screen.conditions)), screen.condition[rows]
    tables = {}
    for name, (names, codes) in columns.items():
        there = np.unique(codes)
        if len(there) < 2 or len(there) * len(rows) > LARGEST_TABLE:
            continue
        tables[name] = LabelTable(
            ids=ids,
            classes=tuple(names[code] for code in there),
            values=(codes[:, None] == there).astype(np.float32),
            groups=ids,
            exclusive=True,
        )
    return tables
