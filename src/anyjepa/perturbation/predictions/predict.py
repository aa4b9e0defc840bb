"""Predict conditions by name with a fitted method, and convert predictions to a table."""

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
class PredictedConditions:
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


def predict_conditions(
    predict: Predict, train: Effects, conditions: Sequence[str], control: np.ndarray | None = None
) -> PredictedConditions:
    """Predict conditions such as 'A' or 'A+B' (in any order) with a method that was fitted to `train`.

    control: (G,) mean log1p expression of the cells to perturb; None: mean of all control cells.
    Raises InputError for no condition, a condition that is listed twice, the control, a condition without a prediction
    (with the nearest names if it has an unknown perturbation), and a control of a different shape.
    """
    trained = perturbation_names(train)
    parsed = [parse(text, whole_names={*trained, *train.genes}) for text in conditions]
    named = dict(zip(map(str, parsed), parsed, strict=True))
    if not named:
        raise InputError("pass at least one condition to predict")
    if len(named) < len(parsed):
        twice = next(name for name in named if list(map(str, parsed)).count(name) > 1)
        raise InputError(f"condition '{twice}' is listed twice")
    if "control" in named:
        raise InputError(
            f"condition '{conditions[list(named).index('control')]}' is the control, which has no change to predict"
        )
    predicted = predict_sets(predict, train, [one.names for one in parsed], control)
    for one, change in zip(parsed, predicted.prediction.change, strict=True):
        if not np.isfinite(change).all():
            require_known(one, trained)
            raise InputError(f"the method has no prediction for condition '{one}'")
    return predicted


def predict_sets(
    predict: Predict, train: Effects, sets: Sequence[frozenset[str]], control: np.ndarray | None = None
) -> PredictedConditions:
    """The same for T sets of perturbations, with a row of NaN where there is no prediction."""
    before = _control(train) if control is None else control
    if before.shape != (len(train.genes),):
        raise InputError(f"control has shape {before.shape}; it must be ({len(train.genes)},), one mean per gene")
    prediction = Prediction.of(predict(sets, np.tile(before, (len(sets), 1))))
    return PredictedConditions(
        train.genes, tuple("+".join(sorted(one)) for one in sets), tuple(sets), before, prediction
    )


def perturbation_names(train: Effects) -> list[str]:
    """All genes and compounds that training perturbs, sorted."""
    return sorted(frozenset[str]().union(*train.perturbed))


def table(predicted: PredictedConditions) -> DataFrame:
    """One row per condition and gene: condition, gene, log_fold_change, low, high, rank.

    log_fold_change is the change of the mean in log1p units (`attrs["unit"]`), natural logarithm: close to the log fold
    change for genes with many counts, and nearer to 0 for genes with few. low, high: NaN without intervals. rank: 1 is
    the largest |change| of its condition; rows are sorted by it.
    """
    from pandas import DataFrame

    prediction, (count, genes) = predicted.prediction, predicted.prediction.change.shape
    order = np.argsort(-np.abs(prediction.change), axis=1, kind="stable")

    def sorted_values(values: np.ndarray | None) -> np.ndarray:
        return np.full(order.size, np.nan) if values is None else np.take_along_axis(values, order, 1).ravel()

    rows = DataFrame(
        {
            "condition": np.repeat(np.array(predicted.conditions, object), genes),
            "gene": np.array(predicted.genes, object)[order].ravel(),
            "log_fold_change": sorted_values(prediction.change),
            "low": sorted_values(prediction.low),
            "high": sorted_values(prediction.high),
            "rank": np.tile(np.arange(1, genes + 1), count),
        }
    )
    rows.attrs["unit"] = UNIT
    return rows


def _control(train: Effects) -> np.ndarray:
    return (train.control if train.controls is None else train.controls).mean(0, dtype=float)
