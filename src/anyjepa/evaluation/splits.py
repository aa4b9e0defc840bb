"""Split records into training, validation and test. A group (patient) is always in one part only."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from anyjepa.config import Config
from anyjepa.data.labels import LabelTable
from anyjepa.errors import DataWarning, InputError
from anyjepa.randomness import generator

OpenShare = Annotated[float, Field(gt=0, lt=1)]


class Folds(Config):
    """k folds, stratified by label. Every record is tested once per seed."""

    kind: Literal["folds"] = "folds"
    folds: int = Field(default=5, ge=2, le=1000, description="number of folds")
    validation: OpenShare = Field(default=0.2, description="share of the rest for choosing settings and early stopping")

    @property
    def overlap(self) -> float:
        """Ratio of test to training records; see `intervals.estimate`."""
        return 1 / (self.folds - 1)


class Holdout(Config):
    """One random test part per seed, stratified by label."""

    kind: Literal["holdout"] = "holdout"
    test: OpenShare = Field(default=0.2, description="share of all records for testing")
    validation: OpenShare = Field(default=0.2, description="share of the rest for choosing settings and early stopping")

    @property
    def overlap(self) -> float:
        """Ratio of test to training records; see `intervals.estimate`."""
        return self.test / (1 - self.test)


class Fixed(Config):
    """The split of the label table. If it has no validation part, a random share of the training part is used."""

    kind: Literal["fixed"] = "fixed"
    validation: OpenShare = Field(
        default=0.2, description="share of the training part, if the table has no validation part"
    )

    @property
    def overlap(self) -> float:
        """Zero, because the test part is the same in every repeat."""
        return 0.0


AnySplit = Annotated[Folds | Holdout | Fixed, Field(discriminator="kind")]


@dataclass(frozen=True)
class Split:
    """Rows of a label table for each part, (n,) integers each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    seed: int
    fold: int = 0


def splits(table: LabelTable, config: Folds | Holdout | Fixed, seed: int) -> Iterator[Split]:
    """The splits of one seed: k for folds, else one. Raises InputError if there are too few groups."""
    for fold, (rest, validation, test) in enumerate(_test_parts(table, config, seed)):
        if validation is None:
            shares, rng = (1 - config.validation, config.validation), generator(seed, "validation", fold)
            part = stratify(strata(table.values[rest]), _at(table.groups, rest), shares, rng)
            rest, validation = rest[part == 0], rest[part == 1]
        for name, rows in (("training", rest), ("validation", validation), ("test", test)):
            if not len(rows):
                rarest = min(table.values.sum(0), default=0)
                advice = "" if config.kind == "fixed" else "; label more records, or exclude rare classes"
                raise InputError(
                    f"split: the {name} part is empty ({len(table)} records in {len(set(table.groups))} groups, "
                    f"{rarest:g} of the rarest class){advice}"
                )
        yield Split(rest, validation, test, seed, fold)


def _test_parts(
    table: LabelTable, config: Folds | Holdout | Fixed, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray]]:
    """(rest, validation part if it is fixed, test part) of every fold."""
    if isinstance(config, Fixed):
        if table.split is None:
            raise InputError("split: 'fixed' needs a label table with a split column (--split)")
        part = np.array(table.split)
        validation = np.flatnonzero(part == "validation")
        yield np.flatnonzero(part == "train"), validation if len(validation) else None, np.flatnonzero(part == "test")
        return
    folds = config.folds if isinstance(config, Folds) else 1
    shares = (1 / folds,) * folds if isinstance(config, Folds) else (config.test, 1 - config.test)
    part = stratify(strata(table.values), table.groups, shares, generator(seed, config.kind, 0))
    for fold in range(folds):
        yield np.flatnonzero(part != fold), None, np.flatnonzero(part == fold)


def strata(values: np.ndarray) -> np.ndarray:
    """Label columns (N, C + 1). The last column marks records without any class, so that every row has a one."""
    return np.c_[values, values.sum(1) == 0].astype(int)


def stratify(
    columns: np.ndarray, groups: Sequence[str], shares: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Part of each row, (N,). Each part gets about its share of the rows and of the ones in each column (N, S).

    Iterative stratification (Sechidis et al. 2011) of groups instead of examples. Groups of the rarest remaining column
    are assigned first, each to the part that needs this column most, among the parts with room for half of the group.
    By rounding, a part can get one record too many per column.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), columns.shape[1]))
    np.add.at(counts, group_of, columns)  # (G, S)
    sizes = np.bincount(group_of)
    targets = np.asarray(shares)[:, None]
    lacks, room = targets * counts.sum(0), (targets * sizes.sum())[:, 0]  # (P, S), (P,)
    part = np.full(len(names), -1)
    shuffled = rng.permutation(len(names))
    while len(left := shuffled[part[shuffled] < 0]):
        totals = counts[left].sum(0)
        rarest = int(np.argmin(np.where(totals > 0, totals, np.inf)))
        members = left[counts[left, rarest] > 0]
        for group in members[np.argsort(-counts[members, rarest], kind="stable")]:
            fits = room >= min(sizes[group] / 2 - columns.shape[1], room.max())
            chosen = int(np.lexsort((rng.random(len(room)), room, lacks[:, rarest], fits))[-1])
            part[group] = chosen
            lacks[chosen] -= counts[group]
            room[chosen] -= sizes[group]
    return part[group_of]


def low_shot(table: LabelTable, split: Split, amount: int | float) -> Split:
    """The split with fewer labels: `amount` records per class (integer) or a share of the part (float below 1).

    The training and validation parts are both reduced, because a low-shot experiment must not choose settings with more
    labels than it trains on. The test part does not change. Draws depend only on the seed and fold of the split.
    """
    draw = _few_a_class if isinstance(amount, int) else _few_of_all
    parts = {}
    for name, rows in (("train", split.train), ("validation", split.validation)):
        parts[name] = draw(table, rows, amount, generator(split.seed, f"low shot {name}", split.fold))
        if len(rows) and not len(parts[name]):
            raise InputError(f"low shot: {amount} of the {name} part is less than one of its {len(rows)} records")
    return replace(split, **parts)


def warn_of_few(table: LabelTable, whole: Sequence[Split], amount: int | float) -> None:
    """Issue one DataWarning with the classes that have fewer than `amount` training labels in some split."""
    fewest = np.min([table.values[split.train].sum(0) for split in whole], axis=0)  # (C,)
    few = [f"{name} {count:.0f}" for name, count in zip(table.classes, fewest, strict=True) if count < amount]
    if isinstance(amount, int) and few:
        message = f"low shot: fewer than {amount} training labels in some split, so all are used: {', '.join(few)}"
        warnings.warn(message, DataWarning, stacklevel=3)


def _few_a_class(table: LabelTable, rows: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Rows with `amount` records per stratum, or all. A patient's second record comes after the first of all others."""
    shuffled = rng.permutation(rows)
    turn: defaultdict[str, int] = defaultdict(int)
    turns = []
    for row in shuffled:
        turns.append(turn[table.groups[row]])
        turn[table.groups[row]] += 1
    ordered = shuffled[np.argsort(turns, kind="stable")]
    columns = strata(table.values)[ordered]  # (n, C + 1)
    chosen: set[int] = set()
    for column in np.argsort(columns.sum(0), kind="stable"):
        members = ordered[columns[:, column] > 0]
        already = [row for row in members if row in chosen]
        fresh = [row for row in members if row not in chosen]
        chosen.update(fresh[: max(0, int(amount) - len(already))])
    return np.array(sorted(chosen), dtype=int)


def _few_of_all(table: LabelTable, rows: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A stratified share of the rows, by whole patients."""
    part = stratify(strata(table.values[rows]), _at(table.groups, rows), (amount, 1 - amount), rng)
    return rows[part == 0]


def check_leakage(splits: Iterable[Split], groups: Sequence[str], hashes: Sequence[str] | None = None) -> None:
    """Raise InputError if a row or a group is in two parts of a split.

    hashes: digest of each signal. The same signal in two parts under different groups gives a DataWarning.
    """
    for split in splits:
        seen = {
            what: _first_crossing(split, column)
            for what, column in (("row", range(len(groups))), ("group", groups), ("signal", hashes or ()))
            if len(column)
        }
        for what in ("row", "group"):
            if seen[what]:
                raise InputError(f"split (seed {split.seed}, fold {split.fold}): {what} {seen[what]}")
        if seen.get("signal"):
            where = f"split (seed {split.seed}, fold {split.fold})"
            warnings.warn(
                f"{where}: the same signal has two ids: {seen['signal']}; put both into one group", DataWarning, 2
            )


def _first_crossing(split: Split, column: Sequence) -> str | None:
    part_of: dict = {}
    for part in ("train", "validation", "test"):
        for row in getattr(split, part):
            earlier = part_of.setdefault(column[row], part)
            if earlier != part:
                return f"'{column[row]}' is in {earlier} and in {part}"
    return None


def _at(items: Sequence[str], rows: np.ndarray) -> list[str]:
    return [items[int(row)] for row in rows]
