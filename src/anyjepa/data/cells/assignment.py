"""Which condition each cell of a table has."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.cells.columns import Role
from anyjepa.data.cells.conditions import CONTROL, Condition, Kind, is_control, parse
from anyjepa.data.cells.screen import Labels
from anyjepa.errors import DataWarning, InputError

if TYPE_CHECKING:
    from pandas import DataFrame

_MISSING = {"", "nan", "NaN", "None", "none"}


def assign(
    obs: DataFrame,
    columns: Mapping[Role, str | None],
    genes: Collection[str],
    control: str | None,
    kind: Kind,
    where: str,
) -> tuple[tuple[Condition, ...], np.ndarray, list[str]]:
    """All conditions, the control first, then by size and name; (N,) the number of each cell's, -1 for none; and the
    names that controls have in the file.

    'A_B' is a pair if both are genes or stand alone in the column; a DataWarning says where only one is. InputError if
    there is no control, for an empty name, and for a dose or time that is no number. Without a column of conditions
    all cells are controls.
    """
    if columns["condition"] is None:
        return (CONTROL,), np.zeros(len(obs), np.int64), []
    names, codes = _texts(obs, columns["condition"])
    if control is not None and control not in names:
        raise InputError(f"{where}: no cell has the control '{control}' in column '{columns['condition']}'")
    alone = {name for name in names if not {"+", "_"} & set(name) and not is_control(name)}
    known = (set(genes) | alone) - {control}
    _warn_of_halves(names, known, where)
    joint = codes.astype(np.int64)
    amounts: list[np.ndarray] = []
    for role in ("dose", "time"):
        column = columns[role]
        values, place = np.unique(
            np.full(len(obs), np.nan) if column is None else numbers(obs, column, where), return_inverse=True
        )
        amounts.append(values)
        joint = np.where(joint < 0, -1, joint * len(values) + place)
    met, place = np.unique(joint, return_inverse=True)
    found: list[Condition | None] = []
    controls: set[str] = set()
    for number in met.tolist():
        if number < 0:
            found.append(None)
            continue
        rest, time = divmod(number, len(amounts[1]))
        name, dose = divmod(rest, len(amounts[0]))
        amount = {"dose": _known(amounts[0][dose]), "time": _known(amounts[1][time])}
        try:
            condition = parse(names[name], kind=kind, known=known, control=control, **amount)
        except InputError as error:
            raise InputError(f"{where}: column '{columns['condition']}': {error}") from None
        found.append(condition)
        if condition.is_control:
            controls.add(names[name])
    distinct = sorted({c for c in found if c is not None and not c.is_control}, key=lambda c: (len(c), str(c)))
    if not controls:
        raise InputError(
            f"{where}: column '{columns['condition']}' has no control, as 'control', 'ctrl' or 'non-targeting'; "
            f"set control=NAME; there are: {', '.join(names[:40])}"
        )
    order = {condition: number for number, condition in enumerate((CONTROL, *distinct))}
    numbered = np.array([-1 if condition is None else order[condition] for condition in found], np.int64)
    return (CONTROL, *distinct), numbered[place.ravel()], sorted(controls)


def labels(obs: DataFrame, column: str | None, cells: np.ndarray, where: str) -> Labels | None:
    """The column's texts of these cells. InputError if one has none."""
    if column is None:
        return None
    names, codes = _texts(obs, column)
    if (codes[cells] < 0).any():
        cell = obs.index[cells[(codes[cells] < 0).argmax()]]
        raise InputError(f"{where}: cell '{cell}' has no value in column '{column}'; name another column, or 'none'")
    return Labels(names, codes[cells])


def numbers(obs: DataFrame, column: str | None, where: str) -> np.ndarray:
    """(N,) float64 of a column, NaN where it is empty. InputError for anything else."""
    from pandas import to_numeric

    texts = obs[column].astype(object)
    values: Any = to_numeric(texts, errors="coerce")
    wrong = values.isna() & texts.notna() & ~texts.astype(str).isin(list(_MISSING))
    if wrong.any():
        cell = int(wrong.to_numpy().argmax())
        raise InputError(f"{where}: column '{column}', cell '{obs.index[cell]}': '{texts.iloc[cell]}' is no number")
    return values.to_numpy(float)


def _texts(obs: DataFrame, column: str | None) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct texts of a column, and (N,) which each cell has; -1 for none."""
    from pandas import factorize

    codes, found = factorize(obs[column])
    names = [str(name).strip() for name in found]
    distinct = sorted(set(names) - _MISSING)
    place = {name: number for number, name in enumerate(distinct)}
    return tuple(distinct), np.array([*(place.get(name, -1) for name in names), -1], np.int64)[codes]


def _warn_of_halves(names: Collection[str], known: Collection[str], where: str) -> None:
    half = [
        name
        for name in names
        if name not in known
        and name.count("_") == 1
        and sum(part in known for part in name.split("_")) == 1
        and not any(is_control(part) for part in name.split("_"))
    ]
    if half:
        warnings.warn(
            DataWarning(
                f"{where}: {len(half)} conditions as '{half[0]}' are each taken as one perturbation: one part is no "
                "gene of the panel and never stands alone; a pair is written A+B"
            ),
            stacklevel=2,
        )


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
