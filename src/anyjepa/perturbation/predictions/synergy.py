"""Find combinations whose effect differs from the sum of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from anyjepa.errors import InputError
from anyjepa.perturbation.methods.ensembles import CalibratedPredict
from anyjepa.perturbation.predictions.predict import PredictedConditions, predict_conditions, table
from anyjepa.perturbation.scoring.baselines import additive
from anyjepa.perturbation.scoring.effects import Effects, Predict, Prediction

if TYPE_CHECKING:
    from pandas import DataFrame


NO_PAIR = (
    "synergy: no combination was measured, so every prediction is the sum of the parts, and its difference from that "
    "sum says nothing; measure some combinations"
)


class Synergy(NamedTuple):
    """How combinations differ from the sum of their parts, per gene and as a whole."""

    genes: DataFrame
    """The columns of `table`; log_fold_change is the difference from the sum."""
    scores: DataFrame
    """One row per condition: condition, sum, norm, projection, share, low, high, spread, parts, no_interval."""


def synergy(
    predict: Predict, train: Effects, conditions: Sequence[str], parts: Literal["measured", "predicted"] = "measured"
) -> Synergy:
    """The predicted change of combinations minus the sum of the changes of their parts alone.

    parts: "measured" uses the measured changes of the parts (`additive`) if training has them all, else predicted ones;
    "predicted" always uses predicted ones, which have no measurement noise. The column `parts` says which were used.
    Scores are in log1p units: `sum` is the length of the parts' sum, `norm` that of the difference, `projection` the
    difference along the sum (below 0: less than additive), `spread` its standard deviation over members, and `share`
    the projection over `sum`. low, high: interval of `share` if the method is `calibrated`; no_interval says why there
    is none. Intervals per gene are those of the change, shifted by the sum.
    Raises InputError if training has no combination, because the prediction is then the sum of the parts; for a single
    perturbation; and as `predict_conditions` does, also for parts.
    """
    from pandas import DataFrame

    if not any(len(one) > 1 for one in train.perturbed):
        raise InputError(NO_PAIR)

    predicted = predict_conditions(predict, train, conditions)
    if alone := [name for name, one in zip(predicted.conditions, predicted.perturbed, strict=True) if len(one) < 2]:
        raise InputError(f"condition '{alone[0]}' is not a combination; only combinations have parts")
    total = np.full(predicted.prediction.change.shape, np.nan)
    if parts == "measured":
        total = Prediction.of(additive(train)(predicted.perturbed, total)).change
    measured = np.isfinite(total).all(axis=1)
    if not measured.all():
        rest = [predicted.perturbed[i] for i in np.flatnonzero(~measured)]
        names = sorted(frozenset[str]().union(*rest))
        single = dict(zip(names, predict_conditions(predict, train, names).prediction.change, strict=True))
        total[~measured] = [np.sum([single[name] for name in sorted(one)], axis=0) for one in rest]
    prediction = predicted.prediction
    ends = {end: None if (x := getattr(prediction, end)) is None else x - total for end in ("low", "high")}
    difference = Prediction(prediction.change - total, **ends)
    length = np.linalg.norm(total, axis=1)
    along = total / np.where(length > 0, length, np.inf)[:, None]
    projection = (difference.change * along).sum(1)
    length_or_nan = np.where(length > 0, length, np.nan)
    half, why = _half_widths(predict, predicted, along)
    scores = DataFrame(
        {
            "condition": np.array(predicted.conditions, object),
            "sum": length,
            "norm": np.linalg.norm(difference.change, axis=1),
            "projection": projection,
            "share": projection / length_or_nan,
            "low": (projection - half) / length_or_nan,
            "high": (projection + half) / length_or_nan,
            "spread": spread(None if prediction.members is None else (prediction.members * along).sum(2), length),
            "parts": np.where(measured, "measured", "predicted").astype(object),
            "no_interval": np.array(why, object),
        }
    )
    return Synergy(
        table(replace(predicted, control=total, prediction=difference)),
        scores,
    )


def _half_widths(
    predict: Predict, predicted: PredictedConditions, along: np.ndarray
) -> tuple[np.ndarray, Sequence[str]]:
    """(T,) half the width of the interval of each change along a direction (T, G), and why there is none."""
    half, why = np.full(len(along), np.nan), ["the method gives none"] * len(along)
    if isinstance(predict, CalibratedPredict):
        for row, one in enumerate(predicted.perturbed):
            made = predict.calibration(one, predicted.control)
            why[row] = made if isinstance(made, str) else ""
            half[row] = np.nan if isinstance(made, str) else made.half_width_of(along[row])
    return half, why


def spread(each: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    """(T,) standard deviation over members (M, T); NaN for fewer than two, and where all give the same."""
    if each is None or len(each) < 2:
        return np.full(like.shape, np.nan)
    return np.where(np.ptp(each, axis=0) > 0, each.std(0, ddof=1), np.nan)
