"""Predict conditions by name with a fitted method, and convert predictions to a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anyjepa.data.cells.conditions import Condition, Perturbation, parse, require_known
from anyjepa.errors import InputError
from anyjepa.perturbation.methods.compounds import Amount
from anyjepa.perturbation.scoring.effects import Effects, Predict, Prediction

if TYPE_CHECKING:
    from pandas import DataFrame

UNIT = "difference of mean ln(counts per 10,000 + 1)"


class Measured(NamedTuple):
    """Measured changes (T, G) of predicted conditions with their intervals; rows of NaN were not measured."""

    change: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class PredictedConditions:
    """A prediction for T named conditions of G genes."""

    genes: tuple[str, ...]
    conditions: tuple[str, ...]
    perturbed: tuple[frozenset[str], ...]
    control: np.ndarray
    """(G,) mean log1p expression of the cells before they are perturbed, or (T, G) if conditions differ in it."""
    prediction: Prediction
    contexts: tuple[str, ...] = ()
    """T names of the cell types or donors of the cells; empty: all cells together."""
    label: str = "context"
    """What the contexts are, such as 'cell_type'."""
    measured: Measured | None = None

    @property
    def expression(self) -> np.ndarray:
        """(T, G) predicted mean log1p expression, not below 0."""
        return np.maximum(self.control + self.prediction.change, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """T names with their context, such as 'stimulated in B'."""
        places = self.contexts or ("",) * len(self.conditions)
        return tuple(name + (f" in {of}" if of else "") for name, of in zip(self.conditions, places, strict=True))


def parse_conditions(conditions: Sequence[str], names: Collection[str], genes: Collection[str]) -> list[Condition]:
    """Conditions such as 'A' or 'A+B' (in any order); names: perturbations that a method knows, such as 'D3@10'.

    Raises InputError for no condition, a condition that is listed twice, and the control.
    """
    compounds = {Amount.of(name).name for name in names if Amount.of(name).name != name}

    def one_of(text: str) -> Condition:
        amounts = [Amount.of(part.strip()) for part in text.split("+")]
        if all(one.name in compounds for one in amounts):
            return Condition(frozenset(Perturbation(str(one)) for one in amounts))
        return parse(text, whole_names={*names, *genes})

    parsed = [one_of(text) for text in conditions]
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
    return parsed


def predict_conditions(
    predict: Predict, train: Effects, conditions: Sequence[str], control: np.ndarray | None = None
) -> PredictedConditions:
    """Predict conditions such as 'A' or 'A+B' (in any order) with a method that was fitted to `train`.

    control: (G,) mean log1p expression of the cells to perturb; None: mean of all control cells.
    Raises InputError for no condition, a condition that is listed twice, the control, a condition without a prediction
    (with the nearest names if it has an unknown perturbation), and a control of a different shape.
    """
    trained = perturbation_names(train)
    parsed = parse_conditions(conditions, trained, train.genes)
    predicted = predict_sets(predict, train, [one.names for one in parsed], control)
    for one, change in zip(parsed, predicted.prediction.change, strict=True):
        if not np.isfinite(change).all():
            require_known(one, trained)
            raise InputError(f"the method has no prediction for condition '{one}'")
    return predicted


def measured_changes(
    train: Effects, perturbed: Sequence[frozenset[str]], control: np.ndarray, level: float
) -> Measured:
    """Measured changes of T sets against their controls (T, G), with intervals for the noise of their cells.

    Intervals are normal, from the variance of cells and controls: they cover `level` of the means of other such cells.
    """
    from scipy.stats import norm

    half, change = np.full(control.shape, np.nan), np.full(control.shape, np.nan)
    width = float(norm.ppf((1 + level) / 2))
    for row, (one, before) in enumerate(zip(perturbed, control, strict=True)):
        for place, (other, own) in enumerate(zip(train.perturbed, train.control, strict=True)):
            if other == one and np.array_equal(own, before):
                change[row] = train.change[place]
                if train.cells is not None:
                    cells, controls = train.cells(train.conditions[place])
                    variance = cells.var(0, dtype=float) / len(cells) + controls.var(0, dtype=float) / len(controls)
                    half[row] = width * np.sqrt(variance)
    return Measured(change, change - half, change + half)


def predict_sets(
    predict: Predict, train: Effects, sets: Sequence[frozenset[str]], control: np.ndarray | None = None
) -> PredictedConditions:
    """The same for T sets of perturbations, with a row of NaN where there is no prediction; control: also (T, G).

    No expression is predicted below 0: a larger decrease than the control has is cut, and its interval moves along.
    """
    before, genes = _control(train) if control is None else control, len(train.genes)
    if before.shape not in ((genes,), (len(sets), genes)):
        raise InputError(f"control has shape {before.shape}; it must be ({genes},), one mean per gene")
    prediction = Prediction.of(predict(sets, np.broadcast_to(before, (len(sets), genes))))
    change = np.maximum(prediction.change, -before)
    if prediction.low is not None and prediction.high is not None:
        cut = change - prediction.change
        prediction = replace(prediction, low=np.maximum(prediction.low + cut, -before), high=prediction.high + cut)
    prediction = replace(prediction, change=change)
    return PredictedConditions(
        train.genes, tuple("+".join(sorted(one)) for one in sets), tuple(sets), before, prediction
    )


def perturbation_names(train: Effects) -> list[str]:
    """All genes and compounds that training perturbs, sorted."""
    return sorted(frozenset[str]().union(*train.perturbed))


def table(predicted: PredictedConditions) -> DataFrame:
    """One row per condition and gene, the largest |change| of a condition first.

    Columns: condition, the context if there are several (such as cell_type), gene, log_fold_change, low, high, rank,
    measured, measured_low, measured_high, no_interval (why low and high are missing).
    log_fold_change is the change of the mean in log1p units (`attrs["unit"]`), natural logarithm: close to the log fold
    change for genes with many counts, and nearer to 0 for genes with few. measured: NaN where it was not measured.
    """
    from pandas import DataFrame

    prediction, (count, genes) = predicted.prediction, predicted.prediction.change.shape
    order = np.argsort(-np.abs(prediction.change), axis=1, kind="stable")

    def sorted_values(values: np.ndarray | None) -> np.ndarray:
        return np.full(order.size, np.nan) if values is None else np.take_along_axis(values, order, 1).ravel()

    def repeated(texts: Sequence[str]) -> np.ndarray:
        return np.repeat(np.array(texts, object), genes)

    measured = predicted.measured or Measured(*[np.full((count, genes), np.nan)] * 3)
    rows = DataFrame(
        {
            "condition": repeated(predicted.conditions),
            **({predicted.label: repeated(predicted.contexts)} if predicted.contexts else {}),
            "gene": np.array(predicted.genes, object)[order].ravel(),
            "log_fold_change": sorted_values(prediction.change),
            "low": sorted_values(prediction.low),
            "high": sorted_values(prediction.high),
            "rank": np.tile(np.arange(1, genes + 1), count),
            "measured": sorted_values(measured.change),
            "measured_low": sorted_values(measured.low),
            "measured_high": sorted_values(measured.high),
            "no_interval": repeated(prediction.why or ["the method gives none"] * count),
        }
    )
    rows.attrs["unit"] = UNIT
    return rows


def _control(train: Effects) -> np.ndarray:
    return (train.control if train.controls is None else train.controls).mean(0, dtype=float)
