"""The split of a run as a table with the group and the part (train, validation or test) of each record.

A split is a `LabelTable` without classes, so the same rules hold: ids are unique, and no group is in two parts.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.labels import LabelTable, join, names_in, rows_of
from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError
from anyjepa.writing import replacing

COLUMNS = ("id", "group", "split")


def split_table(ids: Sequence[str], groups: Sequence[str], parts: Sequence[str]) -> LabelTable:
    """Create a split. Raises InputError if an id repeats, a part is unknown, or a group is in two parts."""
    return LabelTable(tuple(ids), (), np.zeros((len(ids), 0)), tuple(groups), exclusive=False, split=tuple(parts))


def read_split(source: Any) -> LabelTable:
    """Read a split from a table in a file or in memory (see `open_table`). Raises InputError that names row and column.

    Its columns are id, split and, if there are groups, group.
    """
    file = open_table(source)
    path = file.path
    grouped = "group" in file.names
    table = file.read([name for name in COLUMNS if grouped or name != "group"]).without_empty_end()
    if not len(table):
        raise InputError(f"{path}: the table has no rows")
    ids = names_in(table, "id")
    try:
        return split_table(ids, names_in(table, "group") if grouped else ids, names_in(table, "split"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_split(path: Path, split: LabelTable) -> None:
    """Write a split to a .csv file, which `read_split` can read. Raises InputError."""
    with replacing(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(split.ids, split.groups, split.split or (), strict=True))


def kept_out(split: LabelTable, ids: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Select the ids that must not be trained on, because the split holds out the record or another one of its group.

    groups: group of each id in the data. Raises InputError if the split has none of the ids.
    """
    joined = join(split, ids)
    assert joined.table.split is not None
    out = {id for id, part in zip(joined.table.ids, joined.table.split, strict=True) if part != "train"}
    met = {group for id, group in zip(ids, groups, strict=True) if id in out}
    return [id for id, group in zip(ids, groups, strict=True) if id in out or group in met]


def with_split(labels: LabelTable, split: LabelTable, groups: Mapping[str, str]) -> LabelTable:
    """Add a split to labels; unchanged if the split has none of their records or groups.

    A record that is not in the split gets the part of its group, or else is for training. groups: group of each id in
    the data. Raises InputError if a group of the labels gets two parts.
    """
    parts = split.split or ()
    of_group = dict(zip(split.groups, parts, strict=True))
    assigned = [
        parts[row] if row is not None else of_group.get(groups.get(id, group)) or of_group.get(group)
        for id, group, row in zip(labels.ids, labels.groups, rows_of(labels.ids, split.ids), strict=True)
    ]
    if not any(assigned):
        return labels
    return replace(labels, split=tuple(part or "train" for part in assigned))
