"""Labels of any modality: a table of ids, classes, groups and, if the source fixes it, the split."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from anyjepa.data.class_folders import Part, part_of
from anyjepa.data.tables.cells import clean, clean_all, clean_ids, near_miss
from anyjepa.data.tables.table import Table, open_table
from anyjepa.data.tables.targets import read_targets
from anyjepa.errors import DataWarning, InputError, did_you_mean

PARTS = get_args(Part)
_NOT_A_NAME = re.compile(r"^(None|none|-?\d([.,]\d+)?[eE]\+\d+)$", re.MULTILINE)
_UNKNOWN = re.compile(r"[?.*_/]+|un(known|specified)|missing|not[ _](available|known|recorded)", re.IGNORECASE)
_MONTH = "(?:Jan|Feb|Mar|Mrz|Apr|May|Mai|Jun|Jul|Aug|Sep|Oct|Okt|Nov|Dec|Dez)"
_DATE = re.compile(rf"^(\d{{1,2}}(-|\. ){_MONTH}|{_MONTH}[- ]\d\d)$", re.MULTILINE)


@dataclass(frozen=True)
class LabelTable:
    """Labels of N records: C classes of 0 or 1 each, and the group (patient), which no split may divide.

    Invisible characters are removed from groups, classes and parts (`tables.cells.clean`); parts become lower case.
    Raises InputError if ids repeat, shapes disagree, a value is not 0 or 1, a row of an exclusive table does not have
    exactly one class, or a group lies in two parts of the split.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    values: np.ndarray  # (N, C) float32 in {0, 1}
    groups: tuple[str, ...]
    exclusive: bool  # exactly one class per row
    split: tuple[str, ...] | None = None  # 'train', 'validation' or 'test' for each row

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float32))
        object.__setattr__(self, "groups", tuple(clean_all(self.groups)))
        object.__setattr__(self, "classes", tuple(clean_all(self.classes)))
        if self.split is not None:
            object.__setattr__(self, "split", tuple(part_of(part) or part for part in clean_all(self.split)))
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
                present = ", ".join(c for c, v in zip(self.classes, self.values[row], strict=True) if v) or "none"
                raise InputError(f"labels: {self._at(row)}: exactly one class is needed, found {present}")
        if self.split is not None:
            _check_split(self.split, self.groups, self._at)

    @classmethod
    def of_names(
        cls,
        ids: Sequence[str],
        names: Sequence[str] | np.ndarray,
        groups: Sequence[str],
        split: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> LabelTable:
        """Create an exclusive table from one class name per record.

        classes: names of all classes in order; None: those that occur, sorted.
        """
        names = np.asarray(names)
        classes = tuple(sorted(set(names.tolist()))) if classes is None else tuple(classes)
        values = (names[:, None] == np.array(classes)).astype(np.float32)
        return cls(tuple(ids), classes, values, tuple(groups), True, None if split is None else tuple(split))

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Sequence[int] | np.ndarray) -> LabelTable:
        """Select the rows at `index`, in that order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            values=self.values[np.asarray(index, dtype=int)],
            groups=tuple(self.groups[i] for i in index),
            split=None if self.split is None else tuple(self.split[i] for i in index),
        )

    def select(self, ids: Sequence[str]) -> LabelTable:
        """Select the rows of these ids, in this order. Raises InputError for an id without a label."""
        place = {name: row for row, name in enumerate(self.ids)}
        for name in ids:
            if name not in place:
                raise InputError(f"labels: no row for id '{name}'{did_you_mean(name, self.ids[:1000])}")
        return self.rows([place[name] for name in ids])

    def counts(self) -> dict[str, int]:
        """Number of records of each class."""
        return {name: int(count) for name, count in zip(self.classes, self.values.sum(0), strict=True)}

    def drop_rare(self, min_count: int) -> tuple[LabelTable, dict[str, int]]:
        """Drop classes with fewer than `min_count` records; also returns the dropped classes with their counts.

        An exclusive table also loses the records of dropped classes, because these have no other class.
        Raises InputError if no class is left, or only one of an exclusive table.
        """
        counts = self.counts()
        dropped = {name: count for name, count in counts.items() if count < min_count}
        kept = [column for column, name in enumerate(self.classes) if name not in dropped]
        if len(kept) < (2 if self.exclusive else 1):
            present = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"labels: too few classes have {min_count} records or more; there are: {present}")
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
    index: np.ndarray  # (len(table),) position of each row in the data
    unlabelled: tuple[str, ...]  # ids of the data without a label
    absent: tuple[str, ...]  # labelled ids without data


def join(table: LabelTable, ids: Sequence[str]) -> Join:
    """Match labels with data by id. Raises InputError if they have no id in common."""
    rows = rows_of(ids, table.ids)
    common = [place for place, row in enumerate(rows) if row is not None]
    if not common:
        why = _unlike(table.ids, ids) if len(table) else "the table is empty"
        raise InputError(f"labels: no id in common with the data; {why}")
    used = [row for row in rows if row is not None]
    unlabelled = tuple(name for name, row in zip(ids, rows, strict=True) if row is None)
    absent = tuple(table.ids[row] for row in sorted(set(range(len(table))) - set(used)))
    if pair := near_miss(absent, unlabelled):
        warnings.warn(
            f"labels: {len(unlabelled)} ids of the data have no label, but '{pair[1]}' of the data resembles "
            f"'{pair[0]}' of the labels; write '{pair[1]}' for '{pair[0]}' in the table, and all ids as in the data",
            DataWarning,
            stacklevel=2,
        )
    matched = replace(table.rows(used), ids=tuple(ids[place] for place in common))
    return Join(matched, np.array(common), unlabelled, absent)


def rows_of(ids: Sequence[str], labelled: Sequence[str]) -> list[int | None]:
    """Row of the label of each id, None if there is none: an identical id, else one that is equal after `clean_ids`."""
    row = {name: number for number, name in enumerate(labelled)}
    data = set(ids)
    if data <= row.keys():
        return [row[name] for name in ids]
    left = [number for number, name in enumerate(labelled) if name not in data]
    alike = dict(zip(clean_ids(labelled[number] for number in left), left, strict=True))
    rows = [row.get(name, alike.get(same)) for name, same in zip(ids, clean_ids(ids), strict=True)]
    _refuse_repeats([labelled[number] for number in rows if number is not None], "the data's id")
    return rows


def read_label_table(
    source: Any,
    id: str,
    target: str | Sequence[str],
    group: str | Mapping[str, str] | None = None,
    split: str | None = None,
    exclusive: bool | None = None,
    split_by: Literal["group", "record"] = "group",
) -> LabelTable:
    """Read labels from a .csv, .tsv or .parquet file, or from a table in memory (pandas, polars or Arrow).

    id: name of the column of ids. target: a column of class names (each row has exactly one class), or 0/1 columns, one
    per class. group: the column of patients, or a mapping from id to group. split: a column of train, validation, test.
    exclusive: whether each row has exactly one class; None decides from the columns, True also accepts several 0/1
    columns with one 1 per row. split_by: 'record' means that records are independent, so no group is needed.
    Raises InputError that names row and column.
    """
    file = open_table(source)
    path = file.path
    targets = [target] if isinstance(target, str) else list(target)
    if group is None and split_by != "record":
        raise InputError(
            f"{path}: no group column, so records of one patient could be in both training and test; "
            "pass --group COLUMN, or --split-by record if every record is from a different patient"
        )
    names = [id, *targets, *([group] if isinstance(group, str) else []), *([split] if split else [])]
    table = file.read(names).without_empty_end()
    if not len(table):
        raise InputError(f"{path}: the table has no rows")
    ids = tuple(names_in(table, id))
    if isinstance(group, str):
        groups = tuple(names_in(table, group))
    else:
        groups = ids if group is None else _groups_of(ids, group, path)
    columns = {clean(name): _complete(table, clean(name)) for name in targets}
    if len(columns) < len(targets):
        raise InputError(f"{path}: a target column is named twice: {', '.join(targets)}")
    if (header := clean(id)) in ids and all(cells[ids.index(header)] == name for name, cells in columns.items()):
        raise InputError(f"{path}: row {ids.index(header) + 1} is the header again; remove it")
    classes, values, exclusive = read_targets(columns, ids, exclusive, path)
    parts = tuple(names_in(table, split)) if split else None
    try:
        labels = LabelTable(ids, classes, values, groups, exclusive, parts)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for what, each in (("class", classes), ("group", groups if isinstance(group, str) else ())):
        _warn_of_spellings(path, what, each)
        _warn_of_unknown(path, what, each)
    return labels


def _complete(table: Table, name: str) -> list[str]:
    """The texts of a column without missing values."""
    cells = table.texts(name)
    path = table.file.path
    if missing := cells.count(None):
        raw = table.cell(name, row := cells.index(None))
        wrong = f"'{raw}', which stands for a missing value" if clean(raw) else "empty"
        rows = f"the {missing} rows without a value" if missing > 1 else "the row"
        raise InputError(f"{path}: row {row + 1}: column '{name}' is {wrong}; fill in or remove {rows}")
    texts = [cell for cell in cells if cell is not None]
    if match := re.search("[\r\n]", "".join(texts)):
        row = next(row for row, cell in enumerate(texts) if match[0] in cell)
        where = f"{path}: row {row + 1}: column '{name}'"
        raise InputError(f"{where} contains a line break ({texts[row][:60]!r}); is a quote missing?")
    return texts


def names_in(table: Table, column: str) -> list[str]:
    """The ids, groups or parts in a column. The text None is an error, because Python writes it for a missing value."""
    cells = _complete(table, name := clean(column))
    path, lines = table.file.path, "\n".join(cells)
    if match := _NOT_A_NAME.search(lines):
        row = cells.index(match[0])
        wrong = "a missing value of Python" if match[0].isalpha() else "a number that a spreadsheet has rounded"
        raise InputError(f"{path}: row {row + 1}: column '{name}' is '{match[0]}', {wrong}; write the name as text")
    if match := _DATE.search(lines):
        message = f"{path}: column '{name}': '{match[0]}' looks like a name that a spreadsheet has turned into a date"
        warnings.warn(message, DataWarning, stacklevel=3)
    return cells


def _warn_of_spellings(path: Path, what: str, names: Iterable[str]) -> None:
    """Issue a DataWarning for two names that differ only in letter case or, as numbers, in leading zeros."""
    spellings = defaultdict[str, list[str]](list)
    for name in sorted(set(names)):
        spellings[name.lstrip("0") or "0" if name.isdecimal() else name.casefold()].append(name)
    for first, second, *_ in [alike for alike in spellings.values() if len(alike) > 1][:1]:
        difference = "leading zeros" if first.isdecimal() else "letter case"
        message = f"{path}: {what} '{first}' and {what} '{second}' differ only in {difference}, and count as two"
        warnings.warn(message, DataWarning, stacklevel=3)


def _warn_of_unknown(path: Path, what: str, names: Iterable[str]) -> None:
    """Issue a DataWarning for the first name that stands for an unknown value, such as 'missing'."""
    if unknown := next((name for name in sorted(set(names)) if _UNKNOWN.fullmatch(name)), None):
        message = f"{path}: '{unknown}' may mean an unknown {what}, but counts as a {what}; fill in or remove its rows"
        warnings.warn(message, DataWarning, stacklevel=3)


def _groups_of(ids: tuple[str, ...], groups: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Look up the group of each id in the data. An id without data is its own group, because it is never split."""
    of = dict(zip(clean_ids(groups), groups.values(), strict=True)) | dict(groups)
    if not any(name in of for name in ids):
        raise InputError(f"{path}: no id in common with the data; {_unlike(ids, tuple(groups))}")
    return tuple(of.get(name, name) for name in ids)


def _unlike(labelled: Sequence[str], ids: Sequence[str]) -> str:
    """Explain why ids of labels and data do not match, and how to fix it."""
    if pair := near_miss(labelled, ids):
        return f"labels have '{pair[0]}', data have '{pair[1]}'; write '{pair[1]}' for '{pair[0]}' in the table"
    return f"labels have '{labelled[0]}', data have '{next(iter(ids), '')}'"


def _refuse_repeats(names: Sequence[str], what: str) -> None:
    if len(set(names)) == len(names):
        return
    seen: dict[str, int] = {}
    for row, name in enumerate(names, start=1):
        if name in seen:
            raise InputError(f"labels: {what} '{name}' occurs twice (rows {seen[name]} and {row})")
        seen[name] = row


def _check_split(split: Sequence[str], groups: Sequence[str], at: Callable[[int], str]) -> None:
    part_of: dict[str, str] = {}
    for row, (part, group) in enumerate(zip(split, groups, strict=True)):
        if part not in PARTS:
            raise InputError(f"labels: {at(row)}: split is '{part}'{did_you_mean(part, PARTS)}")
        if part_of.setdefault(group, part) != part:
            raise InputError(f"labels: {at(row)}: group '{group}' is in '{part_of[group]}' and in '{part}'")
