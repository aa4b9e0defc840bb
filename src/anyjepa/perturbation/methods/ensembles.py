"""Ensembles of several fits, with intervals calibrated on held-out training conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict, Prediction
from anyjepa.perturbation.scoring.metrics import FLAT
from anyjepa.randomness import generator

_DRAWS = 1000
_KINDS = ("single perturbations", "combinations")


def ensemble(fits: Sequence[Fit]) -> Fit:
    """Average several fits, such as one method with several seeds; `members` of a prediction holds those of the fits.

    A condition has a prediction if every member has one. Raises InputError for no fits.
    """
    if not fits:
        raise InputError("an ensemble needs at least one fit")

    def fit(train: Effects) -> Predict:
        fitted = [one(train) for one in fits]

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> Prediction:
            members = np.stack([Prediction.of(one(perturbed, control)).change for one in fitted])
            return Prediction(members.mean(0), members=members)

        return predict

    return fit


def calibrated(fits: Sequence[Fit], level: float = 0.8, folds: int = 5, refits: int = 1, seed: int = 0) -> Fit:
    """`ensemble` with an interval for each gene, which contains `level` of the measured changes of new conditions.

    Intervals are cross-conformal (Vovk 2015) over training conditions: each of `folds` parts is left out in turn, the
    first `refits` of the fits are fitted to the rest, and the errors relative to their scale give the width. The scale
    is a gene's root mean squared error over left-out conditions; with two or more refits, the variance over members is
    added. Genes of one condition are not independent: one gene is drawn from each of the n conditions, and the
    ceil(level (n + 1))th smallest score, which is valid for a new condition, is averaged over draws (Dunn, Wasserman
    and Ramdas 2022). The level is an average over genes and conditions, not a guarantee for each. Intervals cover the
    measured change, including the noise of its cells.

    Single perturbations are calibrated on single perturbations, each left out with every condition that names it, and
    combinations on combinations alone, at the first prediction of that kind. There is no interval (NaN) for a condition
    without a prediction, nor for a set that was measured in training.
    Raises InputError for an invalid level, folds or refits; and, on prediction, for fewer than level / (1 - level)
    training conditions of that kind that the method predicts when they are left out.
    """
    if not 0 < level < 1 or folds < 2 or not 1 <= refits <= len(fits):
        raise InputError(
            f"intervals need a level between 0 and 1, at least 2 folds, and 1 to {len(fits)} refits; "
            f"they are {level}, {folds} and {refits}"
        )

    def fit(train: Effects) -> Predict:
        centre, left_out, measured = ensemble(fits)(train), ensemble(fits[:refits]), set(train.perturbed)

        @cache
        def calibration(several: bool) -> Calibration:
            return Calibration.of(left_out, train, several, level, folds, seed)

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> Prediction:
            prediction = Prediction.of(centre(perturbed, control))
            half = np.full(prediction.change.shape, np.nan)
            spread = _variance(prediction) if refits > 1 else np.zeros(half.shape)
            answered = np.isfinite(prediction.change).all(1)
            new = answered & np.array([one not in measured for one in perturbed], bool)
            combined = np.array([len(one) > 1 for one in perturbed], bool)
            for several in (False, True):
                if (rows := new & (combined == several)).any():
                    half[rows] = calibration(several).half_width(spread[rows])
            return replace(prediction, low=prediction.change - half, high=prediction.change + half)

        return predict

    return fit


class Calibration(NamedTuple):
    """Errors of a method on conditions of one kind that it was not fitted to."""

    squares: np.ndarray  # (G,) sum of squared errors over the conditions that were left out
    count: int  # number of these conditions
    factor: float  # half the width of an interval relative to its scale

    @classmethod
    def of(cls, fit: Fit, train: Effects, several: bool, level: float, folds: int, seed: int) -> Calibration:
        sets = sorted({one for one in train.perturbed if (len(one) > 1) == several}, key=sorted)
        order, parts = generator(seed, "folds of conditions", int(several)).permutation(len(sets)), []
        if len(sets) >= _least(level):
            folds = min(folds, len(sets))
            parts = [_left_out(fit, train, {sets[i] for i in order[one::folds]}, several) for one in range(folds)]
        count = sum(len(errors) for errors, _ in parts)
        if count < _least(level):
            raise InputError(
                f"{100 * level:g} % intervals for {_KINDS[several]} need {_least(level)} of them in training that "
                f"the method predicts when they are left out; there are {len(sets)}, and it predicts {count}"
            )
        errors, spread = (np.concatenate(each) for each in zip(*parts, strict=True))
        total = (errors**2).sum(0)
        own = _scale(total - errors**2, count - 1, spread)  # a condition must not widen its own scale
        genes = generator(seed, "genes of conditions", int(several)).integers(0, errors.shape[1], (_DRAWS, count))
        scores = np.sort((np.abs(errors) / own)[np.arange(count), genes], axis=1)  # (draws, conditions)
        return cls(total, count, float(scores[:, int(np.ceil(level * (count + 1) - 1e-9)) - 1].mean()))

    def half_width(self, spread: np.ndarray) -> np.ndarray:
        """(T, G) half the width of the interval of each change; spread: (T, G) variance over members."""
        return self.factor * _scale(self.squares, self.count, spread)


def _least(level: float) -> int:
    """The fewest conditions n with n / (n + 1) >= level."""
    return max(2, int(np.ceil(level / (1 - level) - 1e-9)))


def _left_out(fit: Fit, train: Effects, sets: set[frozenset[str]], several: bool) -> tuple[np.ndarray, np.ndarray]:
    """Errors and variances over members, (n, G) each, for the sets that have a prediction when they are left out."""
    names = frozenset[str]().union(*sets)
    tested = np.array([one in sets for one in train.perturbed])
    hidden = tested if several else np.array([bool(one & names) for one in train.perturbed])
    truth = replace(train, test=tested).held_out
    if hidden.all():
        return np.empty((0, len(train.genes))), np.empty((0, len(train.genes)))
    prediction = Prediction.of(fit(replace(train, test=hidden).train)(truth.perturbed, truth.control))
    answered = np.isfinite(prediction.change).all(1)
    return (prediction.change - truth.change)[answered], _variance(prediction)[answered]


def _variance(prediction: Prediction) -> np.ndarray:
    """(T, G) variance over members; 0 if there is only one."""
    members = prediction.members
    return np.zeros(prediction.change.shape) if members is None or len(members) < 2 else members.var(0, ddof=1)


def _scale(squares: np.ndarray, count: int, spread: np.ndarray) -> np.ndarray:
    """Scale of errors, from sums of squared errors (.., G) over `count` conditions and variances over members.

    An additional pseudo-condition with the mean error of all genes prevents narrow intervals for genes whose few errors
    are small by chance.
    """
    typical = squares.mean(-1, keepdims=True) / count
    return np.sqrt(np.maximum((squares + typical) / (count + 1) + spread, FLAT**2))
