"""Measured effects of perturbations, and predictions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyjepa.errors import InputError, did_you_mean
from anyjepa.randomness import generator

Cells = Callable[[str], tuple[np.ndarray, np.ndarray]]
"""Maps the name of a condition to its cells (n, G) and its matched control cells (m, G), log1p."""


@dataclass(frozen=True)
class Effects:
    """Conditions of one screen under one split: C conditions and G genes, as log1p expression.

    A condition is a set of perturbed genes in a context (a cell type, a batch, all cells); the control is not one of
    them. Controls are always measured; a prediction of a control never enters a score.
    """

    genes: tuple[str, ...]
    conditions: tuple[str, ...]
    """Names. The bootstrap treats one name in several splits as one condition, so screens need different names."""
    perturbed: tuple[frozenset[str], ...]
    """Perturbed genes of each condition: C sets of genes, which need not be in the panel."""
    mean: np.ndarray
    """(C, G) mean over the cells of each condition."""
    control: np.ndarray
    """(G,) mean of the controls, or (C, G) if each condition has its own matched controls (batch, cell type)."""
    count: np.ndarray
    """(C,) number of cells of each condition."""
    test: np.ndarray
    """(C,) whether a condition is held out; the others are training conditions."""
    cells: Cells | None = None
    """The cells themselves, or a fixed sample of them, for the ceiling and for metrics of distributions."""
    controls: np.ndarray | None = None
    """(m, G) control cells, the only cells that co-expression is computed from."""

    def __post_init__(self):
        count, genes = len(self.conditions), len(self.genes)
        if repeated := [name for name in self.conditions if self.conditions.count(name) > 1]:
            raise InputError(f"condition '{repeated[0]}' occurs twice")
        for i, name in enumerate(self.conditions[: len(self.perturbed)]):
            if not self.perturbed[i]:
                raise InputError(f"condition '{name}' has no perturbation; pass the control as `control`")
        shapes = {"mean": (count, genes), "control": (count, genes), "count": (count,), "test": (count,)}
        if self.control.ndim == 1:
            object.__setattr__(self, "control", np.broadcast_to(self.control, (count, len(self.control))))
        for key, shape in shapes.items():
            array = getattr(self, key)
            if array.shape != shape:
                raise InputError(f"{key} has shape {array.shape}; {count} conditions of {genes} genes need {shape}")
            if not np.isfinite(array).all():
                name = self.conditions[int(np.argwhere(~np.isfinite(array))[0, 0])]
                raise InputError(f"{key} of condition '{name}' is not finite")
        if len(self.perturbed) != count:
            raise InputError(f"perturbed has {len(self.perturbed)} sets for {count} conditions")
        if self.test.dtype != bool:
            raise InputError("test must be a boolean mask with one entry per condition")

    @property
    def change(self) -> np.ndarray:
        """(C, G) mean of each condition minus that of its controls."""
        return np.subtract(self.mean, self.control, dtype=float)

    @property
    def train(self) -> Effects:
        """The training conditions: all that a method may see. Raises InputError if there are none."""
        return self._part(~self.test, "training")

    @property
    def held_out(self) -> Effects:
        """The test conditions. Raises InputError if there are none."""
        return self._part(self.test, "test")

    def _part(self, chosen: np.ndarray, what: str) -> Effects:
        if not chosen.any():
            raise InputError(f"no {what} condition among {len(self.conditions)}")
        kept = np.flatnonzero(chosen)
        names, cells = tuple(self.conditions[i] for i in kept), self.cells

        def of_this_part(name: str) -> tuple[np.ndarray, np.ndarray]:
            if name not in names:
                raise InputError(
                    f"'{name}' is not a {what} condition, so a method may not see its cells{did_you_mean(name, names)}"
                )
            assert cells is not None
            return cells(name)

        return replace(
            self,
            conditions=names,
            perturbed=tuple(self.perturbed[i] for i in kept),
            mean=self.mean[kept],
            control=self.control[kept],
            count=self.count[kept],
            test=self.test[kept],
            cells=of_this_part if cells else None,
        )


@dataclass(frozen=True)
class Prediction:
    """Predictions of a method for T conditions."""

    change: np.ndarray
    """(T, G) predicted mean minus the measured controls; a row of NaN means no prediction for this condition."""
    low: np.ndarray | None = None
    """(T, G) lower end of each change's interval."""
    high: np.ndarray | None = None
    cells: Sequence[np.ndarray] | None = None
    """T arrays (n, G) of predicted cells; None: control cells, each shifted by the predicted change."""
    why: Sequence[str] | None = None
    """T reasons for having no interval; '' with an interval."""
    members: np.ndarray | None = None
    """(M, T, G) changes predicted by the members of an ensemble; `change` is their mean."""
    level: float | None = None
    """Coverage of the intervals."""

    @classmethod
    def of(cls, returned: np.ndarray | Prediction) -> Prediction:
        """Wrap the return value of a method, which may be changes alone."""
        return returned if isinstance(returned, Prediction) else cls(np.asarray(returned, float))


Predict = Callable[[Sequence[frozenset[str]], np.ndarray], "np.ndarray | Prediction"]
"""Maps T sets of perturbed genes and their measured control means (T, G) to changes (T, G) or a `Prediction`."""
Fit = Callable[[Effects], Predict]
"""A method: maps training conditions to a function that predicts other conditions."""


def half_split(effects: Effects, seed: int = 0) -> tuple[Effects, Prediction]:
    """The ceiling: a random half of each condition's cells, and the other half as its prediction.

    Controls are not halved, as in the other rows. Each half has the noise of half the cells, so a method that averages
    out noise can exceed the ceiling. Raises InputError without cells, or if a condition has fewer than two.
    """
    if effects.cells is None:
        raise InputError("the half-split ceiling needs the cells of each condition")
    kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    half_cells = []
    for i, name in enumerate(effects.conditions):
        cells, controls = effects.cells(name)
        if len(cells) < 2:
            raise InputError(f"condition '{name}' has {len(cells)} cells; the half-split ceiling needs at least 2")
        order, half = generator(seed, "halves of cells", i).permutation(len(cells)), len(cells) // 2
        half_cells.append(cells[order[:half]])
        kept[name] = (cells[order[half:]], controls)
    truth = replace(
        effects,
        mean=np.stack([cells.mean(0, dtype=float) for cells, _ in kept.values()]),
        count=np.array([len(cells) for cells, _ in kept.values()]),
        cells=kept.__getitem__,
    )
    return truth, Prediction(
        np.stack([cells.mean(0, dtype=float) for cells in half_cells]) - effects.control, cells=half_cells
    )


def shuffled(fit: Fit, seed: int = 0) -> Fit:
    """Fit a method to shuffled training perturbations; it should do no better than the perturbed mean.

    The shuffle is one random cycle, so no condition keeps its own perturbations. Raises InputError if all conditions
    have the same perturbations, because there is nothing to shuffle.
    """

    def fit_shuffled(train: Effects) -> Predict:
        if len(set(train.perturbed)) == 1:
            raise InputError(
                "all training conditions perturb the same genes, so there is nothing to shuffle; pass shuffle=False"
            )
        cycle = generator(seed, "shuffled conditions", 0).permutation(len(train.conditions))
        exchanged = dict(zip(cycle.tolist(), np.roll(cycle, 1).tolist(), strict=True))
        return fit(replace(train, perturbed=tuple(train.perturbed[exchanged[i]] for i in range(len(exchanged)))))

    return fit_shuffled
