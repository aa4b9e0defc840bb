"""A screen as its measured effects."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from anyjepa.data.cells.screen import Screen
from anyjepa.evaluation.perturbation.effects import Effects
from anyjepa.randomness import generator


def effects_of(
    screen: Screen,
    test: Collection[int],
    prefix: str = "",
    controls: int = 400,
    seed: int = 0,
    left_out: Collection[int] = (),
) -> Effects:
    """Every condition against the mean of all control cells. test: numbers of the conditions that are held out.

    left_out: numbers of those that are neither tested nor learnt from; prefix: goes before the names, so that
    conditions of several screens differ; controls: so many control cells, drawn once, stand beside the cells of each
    condition where distributions are compared.
    """
    means, rows = screen.means(), [np.flatnonzero(screen.condition == i) for i in range(len(screen.conditions))]
    numbers = [i for i in range(1, len(rows)) if len(rows[i]) and i not in left_out]
    drawn = generator(seed, "control cells", 0).permutation(rows[0])[:controls]
    beside, everyone = screen.rows(np.sort(drawn)), screen.rows(rows[0])
    names = {f"{prefix}{screen.conditions[i]}": i for i in numbers}
    return Effects(
        genes=screen.genes,
        conditions=tuple(names),
        perturbed=tuple(frozenset(screen.conditions[i].names) for i in numbers),
        mean=means[numbers],
        control=means[0],
        count=np.array([len(rows[i]) for i in numbers]),
        test=np.isin(numbers, list(test)),
        cells=lambda name: (screen.rows(rows[names[name]]), beside),
        controls=everyone,
    )
