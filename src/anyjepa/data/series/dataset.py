"""Data set of prepared series in memory: whole series for evaluation, random crops in time for pretraining."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable
from anyjepa.data.series.preprocessing import SeriesPreprocessing
from anyjepa.data.series.record import Series
from anyjepa.errors import DataWarning, InputError


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SeriesDataset(Dataset):
    """`dataset[i]` is the whole series i, (C, T_i) float32, standardised."""

    what: ClassVar[tuple[str, str]] = ("series", "groups")

    values: Sequence[np.ndarray]  # (C, T_i) float32
    preprocessing: SeriesPreprocessing

    @classmethod
    def from_series(
        cls,
        series: Iterable[Series],
        preprocessing: SeriesPreprocessing,
        *,
        short: Literal["skip", "raise"] = "skip",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> SeriesDataset:
        """Prepare every series; `skipped` gives the reason for those that are skipped.

        short: what to do with a series shorter than a crop, which is not padded. on_error: what to do with a series
        that cannot be prepared. Raises InputError if no series is left.
        """
        kept: list[Series] = []
        values: list[np.ndarray] = []
        skipped: dict[str, str] = {}
        for one in series:
            too_short = one.values.shape[1] < preprocessing.length
            try:
                prepared = preprocessing.prepare(one)
            except InputError as error:
                if (short if too_short else on_error) == "raise":
                    raise
                skipped[one.id] = str(error)
                continue
            kept.append(one)
            values.append(prepared)
        if not kept:
            raise InputError(
                f"no usable series among {len(skipped)}: {next(iter(skipped.values()), 'the set is empty')}"
            )
        return cls(
            ids=tuple(one.id for one in kept),
            groups=tuple(one.group or one.id for one in kept),
            groups_known=all(one.group is not None for one in kept),
            source=tuple(one.source for one in kept),
            values=values,
            preprocessing=preprocessing,
            tables=class_tables(kept),
            skipped=skipped,
        )

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[index]

    @property
    def longest(self) -> int:
        return max(values.shape[1] for values in self.values)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        length = self.preprocessing.length
        whole = [self.values[index] for index in indices]
        starts = [int(rng.integers(v.shape[1] - length + 1)) for v, rng in zip(whole, rngs, strict=True)]
        cut = [values[:, start : start + length] for values, start in zip(whole, starts, strict=True)]
        return np.stack(cut), np.array(starts)


def class_tables(series: Sequence[Series]) -> dict[str, LabelTable]:
    """Label tables of series: the task 'class', or with several sources one task each, named by source.

    The split is that of the source if all of its series have one. A class that is missing from the training or test
    part gives a DataWarning.
    """
    labelled: dict[str, list[Series]] = {}
    for one in series:
        if one.label is not None:
            labelled.setdefault(one.source, []).append(one)
    names = list(labelled) if len(labelled) > 1 else ["class"]
    return {name: _table(source, members) for name, (source, members) in zip(names, labelled.items(), strict=False)}


def _table(source: str, series: Sequence[Series]) -> LabelTable:
    names = [one.label or "" for one in series]
    split = tuple(one.split for one in series if one.split)
    whole = split if len(split) == len(series) else None
    for part in sorted(set(whole or ()) & {"train", "test"}):
        there = {name for name, at in zip(names, split, strict=True) if at == part}
        if (absent := set(names) - there) and len(set(split)) > 1:
            text = f"{source}: no series of class {', '.join(sorted(absent))} in the {part} part"
            warnings.warn(text, DataWarning, stacklevel=4)
    groups = [one.group or one.id for one in series]
    return LabelTable.of_names([one.id for one in series], names, groups, whole)
