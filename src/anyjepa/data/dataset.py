"""Base classes of data sets: prepared records, random crops of them for pretraining, and their labels."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from anyjepa.data.array_likes import as_array, as_classes, as_ids, as_names
from anyjepa.data.labels import LabelTable
from anyjepa.data.pair import Pair
from anyjepa.data.places import PlaceLabels
from anyjepa.errors import DataWarning, InputError, did_you_mean

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset(ABC):
    """A data set of N prepared records: `dataset[i]` is the whole record i, and `crops` draws parts for pretraining."""

    what: ClassVar[tuple[str, str]] = ("records", "groups")  # words for records and groups, such as ECGs and patients

    group: ClassVar[str] = "group"  # word for a group in tables

    ids: tuple[str, ...]
    groups: tuple[str, ...]  # group (patient) of each record, which no split divides; if unknown, see `all_groups`
    groups_known: bool
    source: tuple[str, ...]  # name of the data set that each record comes from
    preprocessing: Any  # saved as `preprocessing.json` of a model
    tables: Mapping[str, LabelTable] = field(default_factory=dict)  # labels that come with the data, by task
    skipped: dict[str, str] = field(default_factory=dict)  # id of a skipped record -> reason
    notes: dict[str, str] = field(default_factory=dict)  # id of a record -> note for the user
    checksums: tuple[str, ...] = ()  # of the files that records are read from; empty for records in memory
    shares: np.ndarray | None = None  # (N,) relative number of crops of each record; None: equal

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        tasks = f", tasks {', '.join(self.tasks)}" if self.tasks else ""
        return f"{type(self).__name__}({len(self)} {self.what[0]}{tasks})"

    @property
    def description(self) -> str:
        """The data in words, for the card of a model: '10 ECGs of 8 patients (ptb-xl)'."""
        of = f" of {len(set(self.groups))} {self.what[1]}" if self.groups_known else ""
        return f"{len(self)} {self.what[0]}{of} ({', '.join(sorted(set(self.source)))})"

    @abstractmethod
    def __getitem__(self, index: int) -> np.ndarray:
        """The whole record as the encoder sees it, (C, *samples) float32."""

    @abstractmethod
    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Draw a random crop of each of B records, each with its own generator.

        Returns the crops (B, C, *samples) float32 and the first sample of each on the first axis, (B,).
        """

    def pairs(
        self,
        indices: Sequence[int],
        first: Sequence[np.random.Generator],
        second: Sequence[np.random.Generator],
        step: int,
    ) -> tuple[np.ndarray, Pair[np.ndarray]]:
        """Draw pairs for paired prediction; here two random crops of each of B records.

        Returns the first inputs (B, C, *samples) float32, and a `Pair` with the second ones. first, second: generators
        of the two inputs. step: number of the training step.
        """
        return self.crops(indices, first)[0], Pair(self.crops(indices, second)[0])

    @property
    @abstractmethod
    def longest(self) -> int:
        """Length of the longest record, in samples along the first axis."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Length of each record in samples along the first axis, (N,); None if unknown before the records are read."""
        return None

    @property
    def known_groups(self) -> tuple[str, ...]:
        """Name of the group of each record in the data; '' if unknown."""
        return self.groups if self.groups_known else ("",) * len(self)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks whose labels come with the data."""
        return tuple(self.tables)

    def for_task(self, task: str) -> tuple[Dataset, LabelTable]:
        """The data set and the labels for a task in `tables`. Raises InputError for any other task."""
        if task not in self.tables:
            raise InputError(f"evaluate: there is no task '{task}'{did_you_mean(task, list(self.tables))}")
        return self, self.tables[task]

    @property
    def place_tasks(self) -> tuple[str, ...]:
        """Names of the tasks whose labels per place come with the data."""
        return ()

    def places(self, task: str) -> PlaceLabels:
        """The labels of every place of the prepared records for one of `place_tasks`. Raises InputError for others."""
        if not self.place_tasks:
            raise InputError(f"evaluate: these {self.what[0]} have no labels per place")
        raise InputError(f"evaluate: there is no task '{task}'{did_you_mean(task, self.place_tasks)}")

    def without_short(self, samples: int, on_error: OnError) -> Dataset:
        """Skip records with fewer than `samples` samples along the first axis, or raise InputError.

        Data sets whose records are all of one length keep this default, which returns them unchanged.
        """
        return self


def all_groups(ids: Sequence[str], groups: Sequence[str | None], sources: Sequence[str]) -> tuple[str, ...]:
    """The group of each record. A record of unknown group (None) is a group of its own.

    Its name is the id, or 'source/id' if the id is the name of another group.
    """
    named = set(groups)
    return tuple(
        group if group is not None else f"{source}/{id}" if id in named else id
        for id, group, source in zip(ids, groups, sources, strict=True)
    )


def warn_of_skipped(skipped: Mapping[str, str]) -> None:
    """Issue one DataWarning with the number of skipped records and the first reason."""
    if skipped:
        number = f"{len(skipped)} record{'s' * (len(skipped) > 1)}"
        warnings.warn(f"skipped {number}; the first: {next(iter(skipped.values()))}", DataWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ArrayDataset(Dataset):
    """Prepared records in memory. Every crop is a whole record, so training needs records of one size."""

    values: Sequence[np.ndarray] | np.ndarray  # N arrays (C, *samples) float32

    @classmethod
    def of(
        cls,
        values: Any,
        preprocessing: Any,
        *,
        ids: Sequence[Any] | None = None,
        labels: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        split: Sequence[Any] | None = None,
        source: str = "arrays",
    ) -> ArrayDataset:
        """Create a data set from N prepared records in memory.

        values: (N, C, *samples) as the encoder sees them. The other arguments have one entry per record, or are None.
        labels: classes, which become the task 'class'. groups: names of what no split may divide, such as patients;
        None, NaN and '' mean unknown. split: train, validation or test; needs labels. Raises InputError if lengths
        differ, an id is repeated, or a label is missing.
        """
        values = as_array(values, "values").astype(np.float32, copy=False)
        count = len(values)
        names = tuple(map(str, range(count)) if ids is None else as_ids(ids, count, "ids"))
        groups = [None] * count if groups is None else as_names(groups, count, "groups")
        record_groups = all_groups(names, groups, (source,) * count)
        tables = {}
        if labels is not None:
            part = None if split is None else [one or "" for one in as_names(split, count, "split")]
            tables["class"] = LabelTable.of_names(names, as_classes(labels, count), record_groups, part)
        elif split is not None:
            raise InputError("split: needs labels; pass labels, too")
        return cls(
            ids=names,
            groups=record_groups,
            groups_known=None not in groups,
            source=(source,) * count,
            preprocessing=preprocessing,
            tables=tables,
            values=values,
        )

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[index]

    @property
    def longest(self) -> int:
        return max(len(value[0]) for value in self.values)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([self.values[index] for index in indices]), np.zeros(len(indices))
