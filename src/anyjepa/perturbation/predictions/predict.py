"""What a fitted method says of conditions that are named, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.cells.conditions import parse, require_known
from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects, Predict, Prediction

if TYPE_CHECKING:
    from pandas import DataFrame

UNIT = "difference of mean ln(counts per 10,000 + 1)"


@dataclass(frozen=True)
class Answer:
    """A prediction for T named conditions of G genes."""

    genes: tuple[str, ...]
    conditions: tuple[str, ...]
    perturbed: tuple[frozenset[str], ...]
    control: np.ndarray
    """(G,) mean log1p expression of the cells before they are perturbed."""
    prediction: Prediction

    @property
    def expression(self) -> np.ndarray:
        """(T, G) predicted mean log1p expression, not below 0."""
        return np.maximum(self.control + self.prediction.change, 0)


def ask(predict: Predict, train: Effects, conditions: Sequence[str], control: np.ndarray | None = None) -> Answer:
    """What a method, fitted to `train`, says of conditions: 'A', 'A+B', in any order of the parts.

    control: (G,) mean log1p expression of the cells that are to be perturbed; None: of all control cells.
    Raises InputError for no condition, one twice, the control, and a condition that the method has no answer for, with
    the nearest perturbations of training if it names one that is not there; and for a control of another shape.
    """
    known = perturbations(train)
    asked = [parse(text, known={*known, *train.genes}) for text in conditions]
    named = dict(zip(map(str, asked), asked, strict=True))
    if not named:
        raise InputError("no condition is asked for")
    if len(named) < len(asked):
        twice = next(name for name in named if list(map(str, asked)).count(name) > 1)
        raise InputError(f"condition '{twice}' is asked for twice")
    if "control" in named:
        raise InputError(
            f"condition '{conditions[list(named).index('control')]}' is the control: nothing changes there"
        )
    answer = of_sets(predict, train, [one.names for one in asked], control)
    for one, change in zip(asked, answer.prediction.change, strict=True):
        if not np.isfinite(change).all():
            require_known(one, known)
            raise InputError(f"the method has no answer for condition '{one}'")
    return answer


def of_sets(
    predict: Predict, train: Effects, sets: Sequence[frozenset[str]], control: np.ndarray | None = None
) -> Answer:
    """The same of T sets of perturbations, with a row of NaN where there is no answer."""
    before = _control(train) if control is None else control
    if before.shape != (len(train.genes),):
        raise InputError(f"control has shape {before.shape}, one mean of each of {len(train.genes)} genes is needed")
    prediction = Prediction.of(predict(sets, np.tile(before, (len(sets), 1))))
    return Answer(train.genes, tuple("+".join(sorted(one)) for one in sets), tuple(sets), before, prediction)


def perturbations(train: Effects) -> list[str]:
    """Names of all that training perturbs, sorted."""
    return sorted(frozenset[str]().union(*train.perturbed))


def table(answer: Answer) -> DataFrame:
    """One row a condition and gene: condition, gene, log_fold_change, low, high, rank.

    log_fold_change is the change of the mean in log1p units (`attrs["unit"]`), natural logarithm: about that of the
    fold change for genes of many counts, and nearer to 0 for those of few. low, high: NaN without intervals. rank: 1 is
    the largest |change| of its condition; rows are in this order.
    """
    from pandas import DataFrame

    prediction, (count, genes) = answer.prediction, answer.prediction.change.shape
    order = np.argsort(-np.abs(prediction.change), axis=1, kind="stable")

    def sorted_values(values: np.ndarray | None) -> np.ndarray:
        return np.full(order.size, np.nan) if values is None else np.take_along_axis(values, order, 1).ravel()

    found = DataFrame(
        {
            "condition": np.repeat(np.array(answer.conditions, object), genes),
            "gene": np.array(answer.genes, object)[order].ravel(),
            "log_fold_change": sorted_values(prediction.change),
            "low": sorted_values(prediction.low),
            "high": sorted_values(prediction.high),
            "rank": np.tile(np.arange(1, genes + 1), count),
        }
    )
    found.attrs["unit"] = UNIT
    return found


def _control(train: Effects) -> np.ndarray:
    return (train.control if train.controls is None else train.controls).mean(0, dtype=float)
