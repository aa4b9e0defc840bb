"""Draw the records that pretraining leaves for testing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable
from anyjepa.data.split_files import split_table
from anyjepa.errors import InputError
from anyjepa.evaluation.splits import strata, stratify
from anyjepa.randomness import generator


def hold_out(ids: Sequence[str], groups: Sequence[str], values: np.ndarray, share: float, seed: int) -> LabelTable:
    """Split records into 'train' and 'test' by whole groups, stratified by the label columns `values` (N, C).

    share: of the records, for testing. Raises InputError if it is not between 0 and 1, or if a part would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f"hold out: the share must be between 0 and 1, such as 0.2, not {share:g}")
    part = stratify(strata(values), groups, (share, 1 - share), generator(seed, "hold out", 0))
    if part.min() == part.max():
        raise InputError(f"hold out: {len(set(groups))} groups cannot be split with a share of {share:g}")
    return split_table(ids, groups, np.where(part == 0, "test", "train").tolist())


def hold_out_of(dataset: Dataset, share: float, seed: int) -> LabelTable:
    """The same of a data set, by the groups and classes that it has.

    Raises InputError if the data have a split already, or if they should name groups (patients) but do not.
    """
    if any(table.split is not None for table in dataset.tables.values()):
        raise InputError("hold out: the data have a split already, whose test part is left out; remove --hold-out")
    if dataset.group != "group" and not dataset.groups_known:
        raise InputError(
            f"hold out: the data do not name the {dataset.group} of every record; list the {dataset.what[1]} in a "
            f"table, and split it with anyjepa data split TABLE --group {dataset.group} (or --split-by record)"
        )
    place = {id: row for row, id in enumerate(dataset.ids)}
    columns = [np.zeros((len(dataset), 0))]
    for table in dataset.tables.values():
        if place.keys() >= set(table.ids):
            values = np.zeros((len(dataset), len(table.classes)))
            values[[place[id] for id in table.ids]] = table.values
            columns.append(values)
    return hold_out(dataset.ids, dataset.groups, np.hstack(columns), share, seed)
