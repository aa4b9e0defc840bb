"""A time course as effects: how cells of one time change until later times, and baselines for predicting this."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from anyjepa.data.cells.conditions import since, time_course
from anyjepa.data.cells.screen import Screen
from anyjepa.perturbation.scoring.baselines import no_change
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict

STARTS = 3  # number of times from which later ones are predicted


def trajectory_effects(screen: Screen, test: Collection[int], starts: int = STARTS) -> list[Effects]:
    """One `Effects` per cell type and for each of the last `starts` training times, whose cells are the controls.

    Conditions are the other times, named by the time difference, which is negative for earlier times ('time/-1'). test:
    indices of the conditions to predict. screen: a time course (`time_course`).
    """
    times = np.array(time_course(screen.conditions))
    types = screen.cell_type
    codes, names = (np.zeros(len(screen), np.int64), ("",)) if types is None else (types.codes, types.names)
    trained = [i for i in np.argsort(times).tolist() if i not in test]
    effects = []
    for code, name in enumerate(names):
        rows = {i: np.flatnonzero((screen.condition == i) & (codes == code)) for i in range(len(times))}
        effects += [
            _from(screen, {i: of for i, of in rows.items() if len(of)}, start, test, f"{name} ".lstrip(), times)
            for start in trained[1:][-starts:]
            if len(rows[start])
        ]
    return effects


def persistence(train: Effects) -> Predict:
    """Predict that cells do not change."""
    return no_change(train)


def linear_extrapolation(train: Effects) -> Predict:
    """Extrapolate the change of the means since the nearest earlier time."""
    lags = _lags(train.perturbed)
    last = int(np.argmax(np.where(lags < 0, lags, -np.inf)))
    return _scaled(train.change[last] / lags[last])


def mean_rate(train: Effects) -> Predict:
    """Predict the mean change per unit of time over all training times, earlier and later."""
    return _scaled((train.change / _lags(train.perturbed)[:, None]).mean(0))


TRAJECTORY_BASELINES: Mapping[str, Fit] = {
    "no change": persistence,
    "linear extrapolation": linear_extrapolation,
    "mean change a unit of time": mean_rate,
}


def _from(
    screen: Screen, rows: Mapping[int, np.ndarray], start: int, test: Collection[int], prefix: str, times: np.ndarray
) -> Effects:
    others = [i for i in rows if i != start]
    cells = {f"{prefix}{times[start]:g} to {times[i]:g}": screen.rows(rows[i]) for i in others}
    before = screen.rows(rows[start])
    between = [since(screen.conditions[start], screen.conditions[i]) for i in others]
    return Effects(
        genes=screen.genes,
        conditions=tuple(cells),
        perturbed=tuple(frozenset(map(str, condition)) for condition in between),
        mean=np.stack([of.mean(0, dtype=float) for of in cells.values()]),
        control=before.mean(0, dtype=float),
        count=np.array([len(of) for of in cells.values()]),
        test=np.isin(others, list(test)),
        cells=lambda name: (cells[name], before),
        controls=before,
    )


def _lags(perturbed: Sequence[frozenset[str]]) -> np.ndarray:
    """Time differences from names such as 'time/2'."""
    return np.array([float(next(iter(one)).rpartition("/")[2]) for one in perturbed])


def _scaled(rate: np.ndarray) -> Predict:
    return lambda perturbed, control: _lags(perturbed)[:, None] * rate
