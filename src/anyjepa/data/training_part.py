"""Select the records of a data set for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from anyjepa.errors import InputError, did_you_mean


def training_rows(
    name: str, ids: Sequence[str], split: Sequence[str] | None, part: Literal["train", "all"], exclude: Sequence[str]
) -> list[int]:
    """Positions of the records of data set `name` that a recipe trains on. Raises InputError if none is left.

    Records in `exclude` are left out and, unless `part` is 'all', those that the split keeps for validation and test.
    """
    check_excluded(exclude, ids)
    unwanted, parts = set(exclude), split or ("train",) * len(ids)
    kept = [
        row
        for row, (id, where) in enumerate(zip(ids, parts, strict=True))
        if id not in unwanted and (part == "all" or where == "train")
    ]
    if ids and not kept:
        more = "; data.part=all trains on its other parts, too" if part == "train" and split is not None else ""
        raise InputError(f"{name}: no record is left to train on{more}")
    return kept


def check_excluded(exclude: Sequence[str], ids: Sequence[str]) -> None:
    """Raise InputError if an id to exclude is not in the data, or if all records are excluded."""
    if missing := sorted(set(exclude) - set(ids)):
        hint = did_you_mean(missing[0], ids[:1000]) if len(missing) == 1 else ""
        raise InputError(f"records to exclude are not in the data: {', '.join(missing[:5])}{hint}")
    if exclude and set(ids) <= set(exclude):
        raise InputError(f"all {len(ids)} records are excluded; none is left to train on")
