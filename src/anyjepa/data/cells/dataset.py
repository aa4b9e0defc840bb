"""Cells as training sees them: single ones, and pairs of a control and what became of another like it."""

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

LARGEST_TABLE = 10**8  # values of a label table; a task with more classes than that allows is left out


class HiddenGenes(Config):
    """The first phase: a cell is predicted from some of its genes, without a condition."""

    share: Share = Field(default=0.5, lt=1, description="of genes that are hidden; the others are scaled up by it")
    steps: NonNegativeInt = Field(default=500, description="training steps of this phase; then pairs of cells follow")


WITHOUT_PHASE = HiddenGenes(steps=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class CellDataset(Dataset):
    """`dataset[i]` is a cell, (1, G) float32 log1p expression.

    Its pair is a matched control and the cell under the cell's condition, or an earlier cell and the cell under the
    time between; a control's pair is itself, under none. In the first phase it is the cell with hidden genes and the
    whole cell. Where the model has proteins, the pair is the cell and its levels of them, (1, P) float32.
    """

    what: ClassVar[tuple[str, str]] = ("cells", "donors")

    screen: Screen  # with the model's genes
    rows: np.ndarray  # (N,) of the screen
    preprocessing: CellPreprocessing
    controls: Controls | None = None  # of the perturbed ones among `rows`; None: there are no pairs
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
        """These rows of a screen, and their labels as tasks."""
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
        """All cells of a screen. Raises InputError for missing genes."""
        known = preprocessing.fit(screen)
        return cls.of(known, np.arange(len(known)), preprocessing)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.screen.rows(self.rows[index : index + 1])

    @property
    def longest(self) -> int:
        return len(self.screen.genes)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Whole cells (B, 1, G): nothing is drawn."""
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
            assert self.screen.proteins is not None, "a model of proteins is trained where there are some"
            return self.screen.rows(rows)[:, None], Pair(self.screen.proteins.levels(rows)[:, None])
        cells, condition = self.screen.rows(rows)[:, None], self.screen.condition[rows]
        if step < self.hidden.steps or self.controls is None:
            kept = np.stack([rng.random(cells.shape[2]) >= self.hidden.share for rng in first])[:, None]
            return cells * kept / np.float32(1 - self.hidden.share), Pair(cells, *encode([CONTROL] * len(rows)))
        before, perturbed = rows.copy(), condition != 0
        drawn = np.array([rng.random() for rng in first])
        before[perturbed] = self.controls.match(rows[perturbed], drawn[perturbed])
        known = self.screen.conditions
        passed = [since(known[a], known[b]) for a, b in zip(self.screen.condition[before], condition, strict=True)]
        return self.screen.rows(before)[:, None], Pair(cells, *encode(passed))


def _tables(screen: Screen, rows: np.ndarray, ids: tuple[str, ...]) -> dict[str, LabelTable]:
    """What a cell is and what was done to it, as tasks, where there are two classes or more."""
    found = {"cell_type": screen.cell_type, "batch": screen.batch, "donor": screen.donor}
    columns = {name: (labels.names, labels.codes[rows]) for name, labels in found.items() if labels is not None}
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
