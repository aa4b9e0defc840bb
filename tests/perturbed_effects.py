"""Small measured effects, by hand or drawn, for tests of scoring predictions of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anyjepa.perturbation.scoring.effects import Effects


def by_hand(changes: Mapping[str, list[float]], test: set[str], control: float = 1.0) -> Effects:
    """Conditions 'a', 'a+b' of genes a, b, ... with these changes of means, against a control of one level."""
    genes = len(next(iter(changes.values())))
    return Effects(
        genes=tuple("abcdefghijklmnopqrstuvwxyz"[:genes]),
        conditions=tuple(changes),
        perturbed=tuple(frozenset(name.split("+")) for name in changes),
        mean=np.array(list(changes.values())) + control,
        control=np.full(genes, control),
        count=np.full(len(changes), 30),
        test=np.array([name in test for name in changes]),
    )


def drawn(seed: int = 0, singles: int = 12, doubles: int = 6, genes: int = 30, cells: int = 40) -> Effects:
    """Cells whose doubles are .8 times the sum of their singles, with noise; 4 singles are held out, or all doubles."""
    r = np.random.default_rng(seed)
    alone = {f"g{i}": r.normal(0, 1, genes) * (r.random(genes) < 0.3) for i in range(singles)}
    names = list(alone) + [f"g{i}+g{i + 1}" for i in range(doubles)]
    effect = {name: sum(alone[g] for g in name.split("+")) * (0.8 if "+" in name else 1) for name in names}
    of = {name: 3 + effect[name] + r.normal(0, 0.5, (cells, genes)) for name in names}
    controls = 3 + r.normal(0, 0.5, (80, genes))
    return Effects(
        genes=tuple(f"g{i}" for i in range(genes)),
        conditions=tuple(names),
        perturbed=tuple(frozenset(name.split("+")) for name in names),
        mean=np.stack([of[name].mean(0) for name in names]),
        control=controls.mean(0),
        count=np.full(len(names), cells),
        test=np.array(["+" in name if doubles else i < 4 for i, name in enumerate(names)]),
        cells=lambda name: (of[name], controls),
        controls=controls,
    )
