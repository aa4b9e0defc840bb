"""Predict doses, times and unseen compounds: interpolated curves, ridge on features and amounts, nearest compound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from anyjepa.perturbation.scoring.baselines import feature_ridge, no_change, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict

_AMOUNTS = re.compile(r"(?P<name>.*?)(@(?P<dose>[-+\d.eE]+))?(/(?P<time>[-+\d.eE]+))?")


class Amount(NamedTuple):
    """A perturbation with its dose and time, as it is named in effects: 'D3@10/24'."""

    name: str
    dose: float | None
    time: float | None

    @classmethod
    def of(cls, text: str) -> Amount:
        match = _AMOUNTS.fullmatch(text)
        assert match, "the name matches any text"
        try:
            dose, time = (None if (x := match[key]) is None else float(x) for key in ("dose", "time"))
        except ValueError:  # a name such as 'A/B'
            return cls(text, None, None)
        return cls(match["name"], dose, time)

    def __str__(self) -> str:
        ends = ((mark, amount) for mark, amount in (("@", self.dose), ("/", self.time)) if amount is not None)
        return self.name + "".join(f"{mark}{amount:g}" for mark, amount in ends)

    @property
    def logs(self) -> np.ndarray:
        """(2,) log1p of dose and time, 0 without."""
        return np.log1p([max(self.dose or 0, 0), max(self.time or 0, 0)])


def described_amounts(names: Sequence[str], features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Features of perturbations with dose and time ('D3@10'): those of the compound, these times each log amount, and
    the log amounts. Compounds without features are left out."""
    amounts = {name: Amount.of(name) for name in names}
    used = np.any([one.logs > 0 for one in amounts.values()], axis=0)
    return {
        name: np.r_[of, *(of * log for log in one.logs[used]), one.logs[used]]
        for name, one in amounts.items()
        if (of := features.get(one.name)) is not None
    }


def compound_baselines(names: Sequence[str], features: Mapping[str, np.ndarray] | None) -> dict[str, Fit]:
    """Baselines for a screen whose perturbations are named with dose and time, such as 'D3@10'.

    Combinations get no prediction. features: of compounds; without features, names are one-hot encoded.
    """
    compounds = sorted({Amount.of(name).name for name in names})
    features = features or dict(zip(compounds, np.eye(len(compounds)), strict=True))
    return {
        "no change": no_change,
        "perturbed mean": perturbed_mean,
        "ridge on features x log dose": feature_ridge(described_amounts(names, features)),
        "nearest compound": partial(nearest_compound, features),
    }


def nearest_compound(features: Mapping[str, np.ndarray], train: Effects) -> Predict:
    """Predict the change due to the most similar training compound (cosine of features), at its nearest amount."""
    there = {next(iter(one)): i for i, one in enumerate(train.perturbed) if len(one) == 1}
    measured = {name: Amount.of(name) for name in there if Amount.of(name).name in features}

    def distance(one: Amount, other: Amount) -> tuple[float, float]:
        a, b = features[one.name], features[other.name]
        similar = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
        return round(1 - similar, 9), float(np.abs(one.logs - other.logs).sum())

    def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
        changes = np.full(control.shape, np.nan)
        for place, one in enumerate(perturbed):
            target = Amount.of(next(iter(one)))
            if len(one) == 1 and measured and target.name in features:
                near = min(measured, key=lambda name, target=target: distance(target, measured[name]))
                changes[place] = train.change[there[near]]
        return changes

    return predict


def curve(train: Effects) -> Predict:
    """Interpolate each perturbation's measured changes along its dose, or its time at the same dose.

    A curve starts from no change at 0, is linear in log1p of the amount between measured amounts, and constant above
    the largest. There is no prediction for combinations, nor for a perturbation that training lacks.
    """
    changes_of: dict[Amount, list[np.ndarray]] = {}
    for one, change in zip(train.perturbed, train.change, strict=True):
        if len(one) == 1:
            changes_of.setdefault(Amount.of(next(iter(one))), []).append(change)
    points = {one: np.mean(changes, axis=0) for one, changes in changes_of.items()}

    def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
        changes = np.full(control.shape, np.nan)
        for place, one in enumerate(perturbed):
            if len(one) == 1 and (change := _on_curve(points, Amount.of(next(iter(one))))) is not None:
                changes[place] = change
        return changes

    return predict


def _on_curve(points: Mapping[Amount, np.ndarray], target: Amount) -> np.ndarray | None:
    for axis, other in ((0, "time"), (1, "dose")):
        same = [
            (one.logs[axis], change)
            for one, change in points.items()
            if one.name == target.name and getattr(one, other) == getattr(target, other)
        ]
        if same and (target.dose, target.time)[axis] is not None:
            x, changes = zip(
                *sorted([(0.0, np.zeros_like(same[0][1])), *same], key=lambda point: point[0]), strict=True
            )
            right = int(np.clip(np.searchsorted(x, target.logs[axis]), 1, len(x) - 1))
            share = min((target.logs[axis] - x[right - 1]) / max(x[right] - x[right - 1], 1e-12), 1)
            return changes[right - 1] + share * (changes[right] - changes[right - 1])
    return None
