"""Match perturbed cells with controls of the same batch, cell type and donor, or later cells with earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from anyjepa.config import Config
from anyjepa.data.cells.conditions import time_course
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import InputError

Label = Literal["cell_type", "batch", "donor"]


class MatchingConfig(Config):
    """What a perturbed cell and its control must have in common. Labels that a screen lacks are ignored."""

    before: Literal["control", "earlier"] = Field(
        default="control",
        description="first cell of a pair: a control or, in a time course, any cell of an earlier time (controls: 0)",
    )
    by: tuple[Label, ...] = Field(
        default=("cell_type", "batch", "donor"), description="labels that must agree, most important first"
    )
    without: Literal["raise", "coarser"] = Field(
        default="raise",
        description="for a stratum without controls: an error, or controls that agree in all but the last labels",
    )


class Controls:
    """Candidate controls for each of `cells`; with before=earlier, all cells of earlier times.

    controls: rows that may be drawn, such as those of the training part; rows that come before no cell are dropped.
    `coarser` counts cells whose controls do not agree in every label, by the remaining labels. Raises InputError for a
    stratum with perturbed cells but no control, and for before=earlier without a time course.
    """

    def __init__(self, screen: Screen, cells: np.ndarray, controls: np.ndarray, config: MatchingConfig):
        rank = _ranks(screen, config)[screen.condition]
        controls = controls[rank[controls] < rank.max()]
        if not len(controls):
            raise InputError(f"{screen.source}: no control cells to match perturbed cells with")
        labels: list[Label] = [name for name in config.by if getattr(screen, name) is not None]
        self.coarser: dict[str, int] = {}
        self._first = np.full(len(screen), -1)  # (N,) start of a cell's stratum in `_pool`; -1: not in `cells`
        self._number = np.zeros(len(screen), np.int64)
        self._pool = np.empty(0, np.int64)
        waiting = np.asarray(cells)
        for level in range(len(labels), -1, -1):
            strata = _strata(screen, labels[:level])
            matched = self._match(strata * (rank.max() + 1), rank, waiting, controls)
            if level < len(labels) and matched.any():
                self.coarser[" x ".join(labels[:level]) or "nothing"] = int(matched.sum())
            waiting = waiting[~matched]
            if not len(waiting):
                return
            if config.without == "raise":
                alone = waiting[0]
                raise InputError(
                    f"{screen.source}: condition '{screen.conditions[screen.condition[alone]]}' has "
                    f"{int((strata[waiting] == strata[alone]).sum())} cells but no controls in "
                    f"{_named(screen, labels, alone)}; matching.without=coarser allows less similar controls"
                )

    def match(self, cells: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Draw a control uniformly from the stratum of each of B cells; returns rows (B,). uniforms: (B,) in [0, 1)."""
        if (self._first[cells] < 0).any():
            raise ValueError("cells to match are not among those that the controls were looked up for")
        return self._pool[self._first[cells] + (uniforms * self._number[cells]).astype(np.int64)]

    def _match(self, strata: np.ndarray, rank: np.ndarray, waiting: np.ndarray, controls: np.ndarray) -> np.ndarray:
        """Record the lower ranks of each waiting cell's stratum; (waiting,) whether there are any."""
        key = strata + rank
        order = controls[np.argsort(key[controls], kind="stable")]
        first = np.searchsorted(key[order], strata[waiting])
        number = np.searchsorted(key[order], key[waiting]) - first
        matched = number > 0
        self._first[waiting[matched]] = first[matched] + len(self._pool)
        self._number[waiting[matched]] = number[matched]
        self._pool = np.r_[self._pool, order]
        return matched


def _ranks(screen: Screen, config: MatchingConfig) -> np.ndarray:
    """Rank of each condition, (conditions,): a cell comes before cells of a higher rank."""
    if config.before == "control":
        return np.minimum(np.arange(len(screen.conditions)), 1)
    times = time_course(screen.conditions)
    if times is None:
        raise InputError(
            f"{screen.source}: matching.before=earlier needs conditions that are one perturbation at several times"
        )
    return np.unique(times, return_inverse=True)[1]


def _strata(screen: Screen, labels: Sequence[Label]) -> np.ndarray:
    """Number of each cell's combination of labels, (N,)."""
    number = np.zeros(len(screen), np.int64)
    for name in labels:
        column = getattr(screen, name)
        number = number * len(column.names) + column.codes
    return number


def _named(screen: Screen, labels: Sequence[Label], cell: int) -> str:
    columns = {name: getattr(screen, name) for name in labels}
    return ", ".join(f"{name} '{column.names[column.codes[cell]]}'" for name, column in columns.items()) or "the screen"
