"""Target columns: one column of class names, or columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyjepa.errors import InputError
from anyjepa.limits import MEMORY

FEW = 20
"""Number of classes that a table may always have, even with few rows."""
_TRUTH = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0, "no": 0.0, "yes": 1.0}
_RARE = 0.05  # in a column of 0 and 1, other cells up to this share are mistakes


def read_targets(
    columns: dict[str, list[str]], ids: Sequence[str], exclusive: bool | None, path: Path
) -> tuple[tuple[str, ...], np.ndarray, bool]:
    """Convert target columns to class names, values (N, C), and whether each row has exactly one class.

    columns: clean cells. 0 and 1 may also be true and false, yes and no, or 0.0 and 1.0. A single column contains class
    names unless it has only these values. Raises InputError for a column that mixes both, and for nearly as many
    classes as rows.
    """
    (first, cells), *others = columns.items()
    if not others and exclusive is not False and (exclusive or not _is_binary(first, cells, ids, path)):
        classes, values = _one_hot(first, cells, path)
        return classes, values, True
    MEMORY.check(8 * len(ids) * len(columns), f"{path}: labels of {len(columns)} classes")
    values = np.empty((len(ids), len(columns)), np.float32)
    for place, (name, cells) in enumerate(columns.items()):
        truth = _truths(cells)
        if None in truth:
            raise InputError(_at(path, ids, row := truth.index(None), name, cells[row]) + "; it must be 0 or 1")
        values[:, place] = truth
    return tuple(columns), values, bool(exclusive)


def _is_binary(name: str, cells: list[str], ids: Sequence[str], path: Path) -> bool:
    """Whether a column contains only 0 and 1. Raises InputError if a few cells differ, or if words are mixed in."""
    truths = _truths(cells)
    odd = [row for row, truth in enumerate(truths) if truth is None]
    if set(truths) == {0.0, 1.0, None}:
        numbered = not any(cell.lower() in ("yes", "no") for cell in set(cells))
        words = [row for row in odd if numbered and not cells[row].isdecimal()]
        if words or len(odd) <= max(1, _RARE * len(cells)):
            row = (words or odd)[0]
            raise InputError(
                f"{_at(path, ids, row, name, cells[row])}, but {len(cells) - len(odd)} of {len(cells)} rows are 0 or "
                "1 (true or false, yes or no); correct it, or write all classes as words"
            )
    return not odd


def _one_hot(name: str, cells: list[str], path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    classes = sorted(set(cells))
    if len(classes) < 2:
        raise InputError(f"{path}: column '{name}' has only one class: '{classes[0]}'")
    if len(classes) > max(FEW, len(cells) / 2):
        raise InputError(
            f"{path}: column '{name}' has {len(classes)} distinct values in {len(cells)} rows, such as "
            f"'{classes[0][:40]}'; a target column has few classes"
        )
    MEMORY.check(8 * len(cells) * len(classes), f"{path}: labels of {len(classes)} classes")
    place = {name: column for column, name in enumerate(classes)}
    values = np.zeros((len(cells), len(classes)), np.float32)
    values[np.arange(len(cells)), [place[cell] for cell in cells]] = 1
    return tuple(classes), values


def _truths(cells: list[str]) -> list[float | None]:
    """1 or 0 for each cell, None where it is neither."""
    of = {cell: _TRUTH.get(cell.lower()) for cell in set(cells)}
    return [of[cell] for cell in cells]


def _at(path: Path, ids: Sequence[str], row: int, name: str, cell: str) -> str:
    return f"{path}: row {row + 1} (id '{ids[row]}'): column '{name}' is '{cell[:60]}'"
