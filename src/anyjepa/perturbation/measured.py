"""A screen as its measured effects."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import numpy as np

from anyjepa.data.cells.matching import Label
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import CellSplit
from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.randomness import generator


def effects_of(
    screen: Screen,
    test: Collection[int] | CellSplit,
    prefix: str = "",
    controls: int = 400,
    seed: int = 0,
    context: Label | None = None,
    amounts: bool = False,
) -> Effects:
    """Every condition against the mean of all control cells; with `context`, in each context against its own controls.

    test: numbers of the conditions that are held out, or a split: what it tests is, what it leaves unused is not there,
    and all else trains, for nothing is chosen here. A split by context names the context itself.
    prefix: goes before the names, so that conditions of several screens differ. Training conditions have their context
    in the name, and so do tested ones unless one whole context is tested: then a condition that is tested in several
    contexts, split by split, is one to the bootstrap. controls: so many control cells, drawn once in each context,
    stand beside the cells of each condition where distributions are compared. amounts: what is perturbed is named with
    its dose and time, 'D3@10'.
    Raises InputError for a split that holds out cells only or by another label than `context`, a label that the screen
    lacks, a context without controls, and a screen without perturbed cells.
    """
    held_out, unused, context, whole = _asked(screen, test, context)
    codes, places = _contexts(screen, context)
    names: dict[str, tuple[int, int]] = {}  # to condition and context
    tested = []
    for i in sorted(set(range(1, len(screen.conditions))) - unused):
        for k in np.unique(codes[screen.condition == i]).tolist():
            new = i in held_out if whole is None else places[k] == whole
            where = f" in {places[k]}" if context and not (new and whole) else ""
            names[f"{prefix}{screen.conditions[i]}{where}"] = i, k
            tested.append(new)
    if not names:
        raise InputError(f"{screen.source}: has no perturbed cell")
    rows = {pair: np.flatnonzero((screen.condition == pair[0]) & (codes == pair[1])) for pair in names.values()}
    beside, means = {}, {}
    for k in sorted({k for _, k in names.values()}):
        own = np.flatnonzero((screen.condition == 0) & (codes == k))
        if not len(own):
            raise InputError(f"{screen.source}: {context} '{places[k]}' has perturbed cells and no control")
        means[k] = screen.rows(own).mean(0, dtype=float)
        beside[k] = screen.rows(np.sort(generator(seed, "control cells", k).permutation(own)[:controls]))
    return Effects(
        genes=screen.genes,
        conditions=tuple(names),
        perturbed=tuple(
            frozenset(map(str, screen.conditions[i]) if amounts else screen.conditions[i].names)
            for i, _ in names.values()
        ),
        mean=np.stack([screen.rows(of).mean(0, dtype=float) for of in rows.values()]),
        control=np.stack([means[k] for _, k in names.values()]),
        count=np.array([len(of) for of in rows.values()]),
        test=np.array(tested),
        cells=lambda name: (screen.rows(rows[names[name]]), beside[names[name][1]]),
        controls=screen.rows(screen.controls),
    )


def _asked(
    screen: Screen, test: Collection[int] | CellSplit, context: Label | None
) -> tuple[Collection[int], set[int], Label | None, str | None]:
    """Numbers of the conditions that are held out and that are not there, the label of contexts, the tested context."""
    if not isinstance(test, CellSplit):
        return test, set(), context, None
    if test.context is None and not test.conditions:
        raise InputError(f"{screen.source}: a split by cell holds out no condition; effects are of whole conditions")
    label, whole = cast("tuple[Label | None, str | None]", test.context or (context, None))
    if context not in (None, label):
        raise InputError(f"{screen.source}: the split is by {label}, and context is '{context}'; give one of them")
    return test.conditions, set(screen.condition[test.unused].tolist()), label, whole


def _contexts(screen: Screen, label: Label | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N,) each cell's context, and their names; without a label all cells are in one."""
    if label is None:
        return np.zeros(len(screen), np.int64), ("",)
    column = getattr(screen, label)
    if column is None:
        raise InputError(f"{screen.source}: has no {label}; name its column in the data's settings")
    return column.codes, column.names
