"""Compute the measured effects of a screen's perturbations."""

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
    """Compare every condition with the mean of all control cells or, given `context`, with the controls of its context.

    test: indices of the held-out conditions, or a split. Of a split, the tested conditions are held out, unused cells
    are dropped, and all other cells train, including those for validation. A split by context defines the context.
    prefix: is prepended to the names, to keep conditions of several screens apart. Names of training conditions include
    their context. So do names of tested conditions, unless one whole context is tested; then the bootstrap treats a
    condition that is tested in several contexts, one per split, as one condition.
    controls: number of control cells, drawn once per context, that comparisons of distributions use for each condition.
    amounts: name perturbations with their dose and time, such as 'D3@10'.
    Raises InputError for a split that holds out only cells, or uses a label other than `context`; for a label that the
    screen lacks; for a context without controls; and for a screen without perturbed cells.
    """
    held_out, unused, context, whole = _held_out(screen, test, context)
    codes, places = _contexts(screen, context)
    names: dict[str, tuple[int, int]] = {}  # name to condition and context
    tested = []
    for i in sorted(set(range(1, len(screen.conditions))) - unused):
        for k in np.unique(codes[screen.condition == i]).tolist():
            new = i in held_out if whole is None else places[k] == whole
            where = f" in {places[k]}" if context and not (new and whole) else ""
            names[f"{prefix}{screen.conditions[i]}{where}"] = i, k
            tested.append(new)
    if not names:
        raise InputError(f"{screen.source}: has no perturbed cells")
    rows = {pair: np.flatnonzero((screen.condition == pair[0]) & (codes == pair[1])) for pair in names.values()}
    compared, means = {}, {}
    for k in sorted({k for _, k in names.values()}):
        own = np.flatnonzero((screen.condition == 0) & (codes == k))
        if not len(own):
            raise InputError(f"{screen.source}: {context} '{places[k]}' has perturbed cells but no control cells")
        means[k] = screen.rows(own).mean(0, dtype=float)
        compared[k] = screen.rows(np.sort(generator(seed, "control cells", k).permutation(own)[:controls]))
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
        cells=lambda name: (screen.rows(rows[names[name]]), compared[names[name][1]]),
        controls=screen.rows(screen.controls),
    )


def _held_out(
    screen: Screen, test: Collection[int] | CellSplit, context: Label | None
) -> tuple[Collection[int], set[int], Label | None, str | None]:
    """Return held-out conditions, unused conditions, label of contexts and tested context."""
    if not isinstance(test, CellSplit):
        return test, set(), context, None
    if test.context is None and not test.conditions:
        raise InputError(f"{screen.source}: a split by cell holds out no conditions, but effects need whole conditions")
    label, whole = cast("tuple[Label | None, str | None]", test.context or (context, None))
    if context not in (None, label):
        raise InputError(f"{screen.source}: the split is by {label}, but context is '{context}'; pass only one of them")
    return test.conditions, set(screen.condition[test.unused].tolist()), label, whole


def _contexts(screen: Screen, label: Label | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N,) context of each cell, and the names of the contexts; without a label, all cells share one context."""
    if label is None:
        return np.zeros(len(screen), np.int64), ("",)
    column = getattr(screen, label)
    if column is None:
        raise InputError(f"{screen.source}: has no {label}; set its column in the settings of the data")
    return column.codes, column.names
