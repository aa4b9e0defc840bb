"""Labels of any modality: one table of ids, classes, groups and, where the source fixes it, the split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anyjepa.data.files import regular_size
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class LabelTable:
    """What is known about N records: C classes each, and the group (patient) that no split may cut.

    Raises InputError if ids repeat, shapes disagree, a value is not 0 or 1, a row of an exclusive table does not have
    exactly one class, or a group lies in two parts of the split.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    values: np.ndarray  # (N, C) float32 in {0, 1}
    groups: tuple[str, ...]
    exclusive: bool  # exactly one class a row
    split: tuple[str, ...] | None = None  # 'train', 'validation' or 'test' a row

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float32))
        if self.values.shape != (len(self.ids), len(self.classes)):
            expected = (len(self.ids), len(self.classes))
            raise InputError(f"labels: values are {self.values.shape}; ids and classes need {expected}")
        for name, column in (("groups", self.groups), ("split", self.split)):
            if column is not None and len(column) != len(self.ids):
                raise InputError(f"labels: {len(column)} {name} for {len(self.ids)} ids")
        _refuse_repeats(self.ids, "id")
        _refuse_repeats(self.classes, "class")
        for row, column in np.argwhere((self.values != 0) & (self.values != 1))[:1]:
            value = self.values[row, column]
            raise InputError(f"labels: {self._at(row)}: class '{self.classes[column]}' is {value:g}; it must be 0 or 1")
        if self.exclusive:
            for row in np.flatnonzero(self.values.sum(1) != 1)[:1]:
                found = ", ".join(c for c, v in zip(self.classes, self.values[row], strict=True) if v) or "none"
                raise InputError(f"labels: {self._at(row)}: exactly one class is needed, found {found}")
        if self.split is not None:
            _check_split(self.split, self.groups, self._at)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Sequence[int] | np.ndarray) -> LabelTable:
        """The table of the rows at `index`, in that order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            values=self.values[np.asarray(index, dtype=int)],
            groups=tuple(self.groups[i] for i in index),
            split=None if self.split is None else tuple(self.split[i] for i in index),
        )

    def select(self, ids: Sequence[str]) -> LabelTable:
        """The table of these ids, in this order. Raises InputError for an id without a label."""
        place = {name: row for row, name in enumerate(self.ids)}
        for name in ids:
            if name not in place:
                raise InputError(f"labels: no row for id '{name}'{did_you_mean(name, self.ids[:1000])}")
        return self.rows([place[name] for name in ids])

    def counts(self) -> dict[str, int]:
        """Records of each class."""
        return {name: int(count) for name, count in zip(self.classes, self.values.sum(0), strict=True)}

    def drop_rare(self, min_count: int) -> tuple[LabelTable, dict[str, int]]:
        """The table without classes under `min_count` records, and those classes with their counts.

        An exclusive table also loses the records of a dropped class: no other class is true of them.
        Raises InputError if no class is left, or only one of an exclusive table.
        """
        counts = self.counts()
        dropped = {name: count for name, count in counts.items() if count < min_count}
        kept = [column for column, name in enumerate(self.classes) if name not in dropped]
        if len(kept) < (2 if self.exclusive else 1):
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"labels: too few classes have {min_count} records or more; there are: {found}")
        values = self.values[:, kept]
        rows = np.flatnonzero(values.sum(1)) if self.exclusive else np.arange(len(self))
        classes = tuple(self.classes[column] for column in kept)
        columns = replace(self, classes=classes, values=values, exclusive=False)
        return replace(columns.rows(rows), exclusive=self.exclusive), dropped

    def _at(self, row: int) -> str:
        return f"row {row + 1} (id '{self.ids[row]}')"


@dataclass(frozen=True)
class Join:
    """Labels joined to data by id."""

    table: LabelTable  # the common ids, in the data's order
    index: np.ndarray  # (len(table),) their places in the data
    unlabelled: tuple[str, ...]  # ids of the data without a label
    absent: tuple[str, ...]  # labelled ids without data


def join(table: LabelTable, ids: Sequence[str]) -> Join:
    """Labels of the data whose ids are given. Raises InputError if no id is on both sides."""
    labelled, given = set(table.ids), set(ids)
    common = [place for place, name in enumerate(ids) if name in labelled]
    if not common:
        example = f"labels have '{table.ids[0]}'" if table.ids else "the table is empty"
        raise InputError(f"labels: no id is common with the data; {example}, data have '{next(iter(ids), '')}'")
    return Join(
        table=table.select([ids[place] for place in common]),
        index=np.array(common),
        unlabelled=tuple(name for name in ids if name not in labelled),
        absent=tuple(name for name in table.ids if name not in given),
    )


def read_label_table(
    path: str | Path,
    id: str,
    target: str | Sequence[str],
    group: str | Mapping[str, str] | None = None,
    split: str | None = None,
    exclusive: bool | None = None,
    split_by: Literal["group", "record"] = "group",
) -> LabelTable:
    """Labels from a .csv, .tsv or .parquet file.

    target: one column of class names (each row has exactly one class), or 0/1 columns, one a class.
    group: the column of the patient, or id -> group where the data know it. split: a column of train, validation, test.
    exclusive: None decides from the columns; True also takes several 0/1 columns with one 1 a row.
    split_by: 'record' says that records are independent, so no group is needed.
    Raises InputError naming row and column.
    """
    path = Path(path)
    frame = _read_frame(path)
    target = [target] if isinstance(target, str) else list(target)
    if group is None and split_by != "record":
        raise InputError(
            f"{path}: no group column: records of one patient could be in training and test; "
            "name the column (--group), or say --split-by record if every record is a patient of its own"
        )
    named = [id, *target, *([group] if isinstance(group, str) else []), *([split] if split else [])]
    for column in named:
        if column not in frame.columns:
            raise InputError(f"{path}: no column '{column}'{did_you_mean(column, frame.columns)}")
    ids = _texts(frame, id, path)
    if not ids:
        raise InputError(f"{path}: the table has no rows")
    if isinstance(group, str):
        groups = _texts(frame, group, path)
    else:
        groups = ids if group is None else _groups_of(ids, group, path)
    classes, values, exclusive = _targets(frame, target, ids, exclusive, path)
    try:
        return LabelTable(ids, classes, values, groups, exclusive, _texts(frame, split, path) if split else None)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read_frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise InputError(f"{path}: a label table is a .csv, .tsv or .parquet file, not '{path.suffix}'")
    regular_size(path)
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
            if frame.columns.has_duplicates:
                raise InputError(f"{path}: column '{frame.columns[frame.columns.duplicated()][0]}' is there twice")
            return frame
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        missing = ["", "NA", "NaN", "nan"]
        with warnings.catch_warnings():  # pandas only warns of rows with more cells than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].dropna()
            if header.duplicated().any():
                raise InputError(f"{path}: column '{header[header.duplicated()].iloc[0]}' is there twice")
            return pd.read_csv(
                path, sep=separator, index_col=False, dtype=str, keep_default_na=False, na_values=missing
            )
    except InputError:
        raise
    except (ValueError, OSError, pd.errors.ParserWarning) as error:  # pandas' parser errors and Arrow's are ValueErrors
        raise InputError(f"{path}: not readable as a table: {str(error).splitlines()[0]}") from None


def _texts(frame: pd.DataFrame, column: str, path: Path) -> tuple[str, ...]:
    """A column as text; whole floats lose their '.0', which only an empty cell elsewhere has given them."""
    missing = np.flatnonzero(frame[column].isna())
    if len(missing):
        raise InputError(f"{path}: row {missing[0] + 1}: column '{column}' is empty")
    return tuple(str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in frame[column].tolist())


def _targets(
    frame: pd.DataFrame, target: list[str], ids: tuple[str, ...], exclusive: bool | None, path: Path
) -> tuple[tuple[str, ...], np.ndarray, bool]:
    """Classes, values (N, C) and whether exactly one class is true of a row."""
    columns = [_texts(frame, column, path) for column in target]
    numbers = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "False": 0.0, "True": 1.0}
    names = sorted(set(columns[0]))
    if len(columns) == 1 and exclusive is not False and (exclusive or not set(names) <= set(numbers)):
        if len(names) < 2:
            raise InputError(f"{path}: column '{target[0]}' has one class only: '{names[0]}'")
        return tuple(names), (np.array(columns[0])[:, None] == np.array(names)).astype(np.float32), True
    for name, column in zip(target, columns, strict=True):
        for row, cell in enumerate(column):
            if cell not in numbers:
                where = f"{path}: row {row + 1} (id '{ids[row]}')"
                raise InputError(f"{where}: column '{name}' is '{cell}'; it must be 0 or 1")
    values = np.array([[numbers[cell] for cell in column] for column in columns], dtype=np.float32).T
    return tuple(target), values, bool(exclusive)


def _groups_of(ids: tuple[str, ...], groups: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Groups that the data know; an id without data keeps itself, for it never meets a split."""
    if not any(name in groups for name in ids):
        raise InputError(f"{path}: no id is common with the data; labels have '{ids[0]}'")
    return tuple(groups.get(name, name) for name in ids)


def _refuse_repeats(names: Sequence[str], what: str) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(names, start=1):
        if name in seen:
            raise InputError(f"labels: {what} '{name}' is there twice (rows {seen[name]} and {row})")
        seen[name] = row


def _check_split(split: Sequence[str], groups: Sequence[str], at: Callable[[int], str]) -> None:
    part_of: dict[str, str] = {}
    for row, (part, group) in enumerate(zip(split, groups, strict=True)):
        if part not in PARTS:
            raise InputError(f"labels: {at(row)}: split is '{part}'{did_you_mean(part, PARTS)}")
        if part_of.setdefault(group, part) != part:
            raise InputError(f"labels: {at(row)}: group '{group}' is in '{part_of[group]}' and in '{part}'")
