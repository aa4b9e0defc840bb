"""The scores of a method on the test conditions of one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.cells import Measured, cell_metrics, measure
from anyjepa.perturbation.scoring.effects import Effects, Fit, Prediction, half_split
from anyjepa.perturbation.scoring.metrics import (
    METRICS,
    coverage,
    discrimination,
    distance,
    pearson,
    pearson_vs_mean,
    r2,
    top_error,
)

Scores = dict[str, np.ndarray]
"""Every metric of `METRICS`, (T,) over test conditions, NaN where there is no such number."""


@dataclass(frozen=True)
class Exam:
    """The test conditions of one split, and what their scores refer to."""

    effects: Effects
    reference: np.ndarray  # (G,) mean change of the training conditions
    measured: Sequence[Measured] | None

    @classmethod
    def of(cls, test: Effects, reference: np.ndarray) -> Exam:
        """The cells are read once, for all methods."""
        cells = test.cells
        return cls(test, reference, [measure(*cells(name)) for name in test.conditions] if cells else None)

    def scores(self, prediction: Prediction) -> Scores:
        """Every metric of a prediction."""
        predicted, true, control = prediction.change, self.effects.change, self.effects.control
        scores = {name: np.full(len(true), np.nan) for name in METRICS}
        scores |= {
            "pearson_delta": pearson(predicted, true),
            "pearson_vs_mean": pearson_vs_mean(predicted, true, self.reference),
            "top20_mse": top_error(predicted, true),
            "discrimination": discrimination(predicted, true),
            "l2": distance(predicted, true),
            "r2_change": r2(predicted, true),
            "r2_mean": r2(control + predicted, control + true),
        }
        if prediction.low is not None and prediction.high is not None:
            scores["coverage"] = coverage(prediction.low, prediction.high, true)
        if self.measured:
            for i in np.flatnonzero(~np.isnan(predicted[:, 0])).tolist():
                cells = None if prediction.cells is None else prediction.cells[i]
                for name, value in cell_metrics(predicted[i], cells, self.measured[i]).items():
                    scores[name][i] = value
        return scores


def predict(name: str, fit: Fit, train: Effects, test: Effects) -> Prediction:
    """What a method that is fitted to `train` says of `test`, of which it sees the perturbed genes and the controls.

    Raises InputError, with the method's name, for a wrong shape, an interval of one end, and changes that are infinite
    or NaN in a part of a row.
    """
    prediction = Prediction.of(fit(train)(test.perturbed, test.control))
    change, shape = prediction.change, test.mean.shape
    for what, array in (("changes", change), ("low", prediction.low), ("high", prediction.high)):
        if array is not None and array.shape != shape:
            raise InputError(f"method '{name}' predicts {what} of shape {array.shape}, asked for were {shape}")
    if (prediction.low is None) != (prediction.high is None):
        raise InputError(f"method '{name}' predicts one end of its intervals only")
    if prediction.cells is not None and len(prediction.cells) != len(change):
        raise InputError(f"method '{name}' predicts cells of {len(prediction.cells)} of {len(change)} conditions")
    broken = ~np.isfinite(change).all(1) & ~np.isnan(change).all(1)
    if broken.any():
        condition = test.conditions[int(np.argmax(broken))]
        raise InputError(
            f"method '{name}' predicts numbers that are not finite for condition '{condition}'; "
            "a whole row of NaN says that it has no answer"
        )
    return prediction


def ceiling(test: Effects, reference: np.ndarray, seed: int) -> Scores:
    """One half of each test condition's cells, predicted by the other (`half_split`)."""
    truth, prediction = half_split(test, seed)
    return Exam.of(truth, reference).scores(prediction)
