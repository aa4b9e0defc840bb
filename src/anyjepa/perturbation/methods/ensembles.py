"""Ensembles of several fits, with intervals calibrated on held-out training conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict, Prediction
from anyjepa.perturbation.scoring.metrics import FLAT
from anyjepa.progress import tell
from anyjepa.randomness import generator

_DRAWS = 1000
_KINDS = {"single": "single perturbations", "several": "combinations", "context": "contexts"}

Kind = Literal["single", "several", "context"]


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


def first_answer(fits: Sequence[Fit]) -> Fit:
    """Predict each condition with the first of several methods that has a prediction for it."""

    def fit(train: Effects) -> Predict:
        fitted = [one(train) for one in fits]

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            changes = np.full(control.shape, np.nan)
            for one in fitted:
                missing: np.ndarray = np.asarray(np.isnan(changes).any(1))
                if missing.any():
                    sets = [set_ for set_, lacks in zip(perturbed, missing, strict=True) if lacks]
                    changes[missing] = Prediction.of(one(sets, control[missing])).change
            return changes

        return predict

    return fit


def calibrated(
    fits: Sequence[Fit], level: float = 0.8, folds: int = 5, refits: int = 1, seed: int = 0
) -> CalibratedFit:
    """`ensemble` with an interval for each gene, which contains `level` of the measured changes of new conditions.

    Intervals are cross-conformal (Vovk 2015) over training conditions: each of `folds` parts is left out in turn, the
    first `refits` of the fits are fitted to the rest, and the errors relative to their scale give the width. The scale
    is a gene's root mean squared error over left-out conditions; with two or more refits, the variance over members is
    added. Genes of one condition are not independent: one gene is drawn from each of the n conditions, and the
    ceil(level (n + 1))th smallest score, which is valid for a new condition, is averaged over draws (Dunn, Wasserman
    and Ramdas 2022). The level is an average over genes and conditions, not a guarantee for each. Intervals cover the
    measured change, including the noise of its cells.

    Single perturbations are calibrated on single perturbations, each left out with every condition that names it, and
    combinations on combinations alone. A set that was measured only in other contexts (cell types, donors; each has
    its own controls) is calibrated by leaving out one context at a time. There is no interval (NaN), and
    `Prediction.why` says why, for a condition without a prediction, for a set that was measured in this context, and
    with fewer than level / (1 - level) training conditions, or contexts, of that kind that the method predicts when
    they are left out.
    Raises InputError for an invalid level, folds or refits.
    """
    if not 0 < level < 1 or folds < 2 or not 1 <= refits <= len(fits):
        raise InputError(
            f"intervals need a level between 0 and 1, at least 2 folds, and 1 to {len(fits)} refits; "
            f"they are {level}, {folds} and {refits}"
        )
    return CalibratedFit(fits, level, folds, refits, seed)


@dataclass(frozen=True)
class CalibratedFit:
    """A method whose predictions have intervals, with the settings of `calibrated`."""

    fits: Sequence[Fit]
    level: float
    folds: int
    refits: int
    seed: int

    def __call__(self, train: Effects) -> CalibratedPredict:
        return CalibratedPredict(self, train, ensemble(self.fits)(train))


@dataclass(frozen=True)
class CalibratedPredict:
    """Predicts changes with intervals per gene, and intervals of weighted sums of changes."""

    settings: CalibratedFit
    train: Effects
    centre: Predict
    done: dict[Kind, Calibration | str] = field(default_factory=dict)

    def __call__(self, perturbed: Sequence[frozenset[str]], control: np.ndarray) -> Prediction:
        prediction = Prediction.of(self.centre(perturbed, control))
        spread = _variance(prediction) if self.settings.refits > 1 else np.zeros(prediction.change.shape)
        half, why = np.full(prediction.change.shape, np.nan), []
        for row, (change, one, before) in enumerate(zip(prediction.change, perturbed, control, strict=True)):
            made = self.calibration(one, before) if np.isfinite(change).all() else "there is no prediction"
            why.append(made if isinstance(made, str) else "")
            if isinstance(made, Calibration):
                half[row] = made.half_width(spread[row])
        low, high = prediction.change - half, prediction.change + half
        return replace(prediction, low=low, high=high, level=self.settings.level, why=tuple(why))

    @cached_property
    def contexts(self) -> int:
        """Number of different controls in training."""
        return len(np.unique(self.train.control, axis=0))

    def calibration(self, perturbed: frozenset[str], control: np.ndarray) -> Calibration | str:
        """The errors that the interval of a condition comes from, or why it has none. control: (G,)."""
        same = [
            before for one, before in zip(self.train.perturbed, self.train.control, strict=True) if one == perturbed
        ]
        if len(perturbed) > 1 and not any(len(one) > 1 for one in self.train.perturbed):
            return "it is the sum of its parts, because no combination was measured"
        if same and (self.contexts == 1 or any(np.array_equal(before, control) for before in same)):
            return "it was measured"
        kind: Kind = "context" if same else "several" if len(perturbed) > 1 else "single"
        if kind not in self.done:
            self.done[kind] = Calibration.of(self.settings, self.train, kind)
        return self.done[kind]


class Calibration(NamedTuple):
    """Errors of a method on conditions of one kind that it was not fitted to; a unit is a condition or a context."""

    errors: np.ndarray  # (n, G)
    unit: np.ndarray  # (n,) which of the units an error belongs to
    squares: np.ndarray  # (G,) sum over units of the squared errors
    factor: float  # half the width of an interval relative to its scale
    level: float

    @classmethod
    def of(cls, settings: CalibratedFit, train: Effects, kind: Kind) -> Calibration | str:
        """The calibration, or why there is none."""
        fit, least = ensemble(settings.fits[: settings.refits]), _least(settings.level)
        units = _units(train, kind)
        parts = []
        if len(units) >= least:
            folds = len(units) if kind == "context" else min(settings.folds, len(units))
            order = generator(settings.seed, "folds of conditions", int(kind == "several")).permutation(len(units))
            for one in range(folds):
                tell(f"calibrating intervals, part {one + 1} of {folds}")
                chosen = order[one::folds]
                tested = np.any([units[i] for i in chosen], axis=0)
                parts.append(_left_out(fit, train, tested, kind))
        rows = np.concatenate([kept for *_, kept in parts]) if parts else np.empty(0, np.int64)
        number = [int(np.argmax([mask[row] for mask in units])) for row in rows.tolist()]
        place = {one: i for i, one in enumerate(dict.fromkeys(number))}
        count, unit = len(place), np.array([place[one] for one in number], np.int64)
        if count < least:
            return (
                f"{100 * settings.level:g} % intervals for {_KINDS[kind]} need {least} of them in training that the "
                f"method predicts when they are left out; there are {len(units)}, and it predicts {count}"
            )
        errors, spread = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        size = np.bincount(unit)
        own = np.zeros((count, errors.shape[1]))
        np.add.at(own, unit, errors**2 / size[unit, None])
        squares = (errors**2).sum(0) if count == len(errors) else own.sum(0)
        scale = _scale(squares - own[unit], count - 1, spread)  # a unit must not widen its own scale
        scores = np.abs(errors) / scale
        rng = generator(settings.seed, "genes of conditions", int(kind == "several"))
        genes = rng.integers(0, errors.shape[1], (_DRAWS, count))
        drawn = scores[_one_of_each(unit, rng), genes]
        return cls(errors, unit, squares, _quantile(drawn, settings.level), settings.level)

    def half_width(self, spread: np.ndarray) -> np.ndarray:
        """(.., G) half the width of the interval of each change; spread: (.., G) variance over members."""
        return self.factor * _scale(self.squares, int(self.unit.max()) + 1, spread)

    def half_width_of(self, weights: np.ndarray) -> float:
        """Half the width of the interval of a sum of changes with weights (G,)."""
        scores = np.abs(self.errors @ weights)
        return _quantile(scores[_one_of_each(self.unit, generator(0, "rows of units", 0))], self.level)


def _units(train: Effects, kind: Kind) -> list[np.ndarray]:
    """(C,) training conditions of each unit: the rows of one set, or of one context."""
    if kind == "context":
        _, own = np.unique(train.control, axis=0, return_inverse=True)
        return [own.ravel() == context for context in range(own.max() + 1)]
    sets = sorted({one for one in train.perturbed if (len(one) > 1) == (kind == "several")}, key=sorted)
    return [np.array([other == one for other in train.perturbed]) for one in sets]


def _one_of_each(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(draws, units) one row of each unit."""
    rows = [np.flatnonzero(unit == one) for one in range(int(unit.max()) + 1)]
    if all(len(one) == 1 for one in rows):
        return np.tile(np.concatenate(rows), (_DRAWS, 1))
    return np.stack([rng.choice(one, _DRAWS) for one in rows], 1)


def _quantile(drawn: np.ndarray, level: float) -> float:
    """Mean over draws (draws, units) of the ceil(level (units + 1))th smallest score."""
    place = int(np.ceil(level * (drawn.shape[1] + 1) - 1e-9)) - 1
    return float(np.sort(drawn, axis=1)[:, place].mean())


def _least(level: float) -> int:
    """The fewest conditions n with n / (n + 1) >= level."""
    return max(2, int(np.ceil(level / (1 - level) - 1e-9)))


def _left_out(fit: Fit, train: Effects, tested: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors and variances over members, (n, G) each, and the rows that have a prediction when `tested` is left out.

    A single perturbation is left out with every condition that names it.
    """
    names = frozenset[str]().union(*(one for one, new in zip(train.perturbed, tested, strict=True) if new))
    hidden = np.array([bool(one & names) for one in train.perturbed]) if kind == "single" else tested
    if hidden.all():
        return np.empty((0, len(train.genes))), np.empty((0, len(train.genes))), np.empty(0, np.int64)
    truth = replace(train, test=tested).held_out
    prediction = Prediction.of(fit(replace(train, test=hidden).train)(truth.perturbed, truth.control))
    answered = np.isfinite(prediction.change).all(1)
    errors = (prediction.change - truth.change)[answered]
    return errors, _variance(prediction)[answered], np.flatnonzero(tested)[answered]


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
