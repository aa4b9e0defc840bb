"""For each perturbed cell a control cell of the same batch, cell type and donor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from anyjepa.config import Config
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import InputError

Label = Literal["cell_type", "batch", "donor"]


class MatchingConfig(Config):
    """What a perturbed cell and its control must share; labels that a screen lacks are not asked for."""

    by: tuple[Label, ...] = Field(
        default=("cell_type", "batch", "donor"), description="labels that must agree, the most important first"
    )
    without: Literal["raise", "coarser"] = Field(
        default="raise",
        description="a stratum without controls: an error, or controls that agree in all labels but the last ones",
    )


class Controls:
    """The controls that may stand beside each of `cells`.

    controls: rows that may be drawn (those of the training part, say). `coarser` counts the cells whose controls do not
    agree in every label, by the labels left. InputError names a stratum that has perturbed cells and no control.
    """

    def __init__(self, screen: Screen, cells: np.ndarray, controls: np.ndarray, config: MatchingConfig):
        controls = controls[screen.condition[controls] == 0]
        if not len(controls):
            raise InputError(f"{screen.source}: no control cell to match perturbed cells with")
        labels: list[Label] = [name for name in config.by if getattr(screen, name) is not None]
        self.coarser: dict[str, int] = {}
        self._first = np.full(len(screen), -1)  # (N,) of a cell's stratum in `_pool`; -1: no cell of `cells`
        self._number = np.zeros(len(screen), np.int64)
        self._pool = np.empty(0, np.int64)
        waiting = np.asarray(cells)
        for level in range(len(labels), -1, -1):
            strata = _strata(screen, labels[:level])
            found = self._match(strata, waiting, controls)
            if level < len(labels) and found.any():
                self.coarser[" x ".join(labels[:level]) or "nothing"] = int(found.sum())
            waiting = waiting[~found]
            if not len(waiting):
                return
            if config.without == "raise":
                alone = waiting[0]
                raise InputError(
                    f"{screen.source}: condition '{screen.conditions[screen.condition[alone]]}' has "
                    f"{int((strata[waiting] == strata[alone]).sum())} cells, and no control is there, in "
                    f"{_named(screen, labels, alone)}; matching.without=coarser takes less alike controls"
                )

    def match(self, cells: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """(B,) a control's row for each cell, uniform in its stratum. uniforms: (B,) in [0, 1)."""
        if (self._first[cells] < 0).any():
            raise ValueError("cells to match are not among those that the controls were looked up for")
        return self._pool[self._first[cells] + (uniforms * self._number[cells]).astype(np.int64)]

    def _match(self, strata: np.ndarray, waiting: np.ndarray, controls: np.ndarray) -> np.ndarray:
        """Note the controls of each waiting cell's stratum; (waiting,) whether there are any."""
        order = controls[np.argsort(strata[controls], kind="stable")]
        first = np.searchsorted(strata[order], strata[waiting], side="left")
        number = np.searchsorted(strata[order], strata[waiting], side="right") - first
        found = number > 0
        self._first[waiting[found]] = first[found] + len(self._pool)
        self._number[waiting[found]] = number[found]
        self._pool = np.r_[self._pool, order]
        return found


def _strata(screen: Screen, labels: Sequence[Label]) -> np.ndarray:
    """(N,) a number for each combination of labels."""
    number = np.zeros(len(screen), np.int64)
    for name in labels:
        column = getattr(screen, name)
        number = number * len(column.names) + column.codes
    return number


def _named(screen: Screen, labels: Sequence[Label], cell: int) -> str:
    columns = {name: getattr(screen, name) for name in labels}
    return ", ".join(f"{name} '{column.names[column.codes[cell]]}'" for name, column in columns.items()) or "the screen"
