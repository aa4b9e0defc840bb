"""What a data set of any modality is: prepared records, random crops of them for pretraining, and their labels."""

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
    """Map-style: `dataset[i]` is record i as the encoder sees it, whole; `crops` draws parts of records."""

    what: ClassVar[tuple[str, str]] = ("records", "groups")  # records and groups, in the modality's words

    group: ClassVar[str] = "group"  # what a group is called in tables

    ids: tuple[str, ...]
    groups: tuple[str, ...]  # what no split may cut (a patient); the record's id where it is unknown
    groups_known: bool
    source: tuple[str, ...]  # the data set that each record comes from
    preprocessing: Any  # the modality's own: what becomes `preprocessing.json` of a model
    tables: Mapping[str, LabelTable] = field(default_factory=dict)  # labels that the data bring, by task
    skipped: dict[str, str] = field(default_factory=dict)  # id of a record left out: why
    notes: dict[str, str] = field(default_factory=dict)  # id of a record: what is to be known of it
    checksums: tuple[str, ...] = ()  # of the files that the records stay in; none for records in memory
    shares: np.ndarray | None = None  # (N,) what share of the crops each record gets, up to a factor; None: the same

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        tasks = f", tasks {', '.join(self.tasks)}" if self.tasks else ""
        return f"{type(self).__name__}({len(self)} {self.what[0]}{tasks})"

    @abstractmethod
    def __getitem__(self, index: int) -> np.ndarray:
        """(C, *samples) float32."""

    @abstractmethod
    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """One random crop of each of these records, by its own generator: (B, C, *samples) float32, and (B,) their
        first samples on the first axis."""

    def pairs(
        self,
        indices: Sequence[int],
        first: Sequence[np.random.Generator],
        second: Sequence[np.random.Generator],
        step: int,
    ) -> tuple[np.ndarray, Pair[np.ndarray]]:
        """The first samples (B, C, *samples) float32, and what each is paired with: here two crops of each record.

        first, second: generators of the two samples; step: of training.
        """
        return self.crops(indices, first)[0], Pair(self.crops(indices, second)[0])

    @property
    @abstractmethod
    def longest(self) -> int:
        """Samples of the longest record along the first axis."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Samples of each record along the first axis, (N,); None if they are not known without reading the records."""
        return None

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The group of each record as the data name it; '' where it is unknown."""
        return self.groups if self.groups_known else ("",) * len(self)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the data bring labels for."""
        return tuple(self.tables)

    def for_task(self, task: str) -> tuple[Dataset, LabelTable]:
        """The samples and labels of one of the tasks in `tables`. Raises InputError for any other task."""
        if task not in self.tables:
            raise InputError(f"evaluate: there is no task '{task}'{did_you_mean(task, list(self.tables))}")
        return self, self.tables[task]

    @property
    def place_tasks(self) -> tuple[str, ...]:
        """Names of the tasks for which the data bring a label per place."""
        return ()

    def places(self, task: str) -> PlaceLabels:
        """The labels per place of one of `place_tasks`, as the encoder sees the records. Raises InputError."""
        if not self.place_tasks:
            raise InputError(f"evaluate: these {self.what[0]} have no labels per place")
        raise InputError(f"evaluate: there is no task '{task}'{did_you_mean(task, self.place_tasks)}")

    def without_short(self, samples: int, on_error: OnError) -> Dataset:
        """Skip records with fewer than `samples` samples along the first axis, or raise InputError.

        Only data sets whose records differ in length have something to do here.
        """
        return self


def warn_of_skipped(skipped: Mapping[str, str]) -> None:
    """Issue one DataWarning with the number of skipped records and the first reason."""
    if skipped:
        number = f"{len(skipped)} record{'s' * (len(skipped) > 1)}"
        warnings.warn(f"skipped {number}; the first: {next(iter(skipped.values()))}", DataWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ArrayDataset(Dataset):
    """Prepared records in memory. Every crop is a whole record, so training needs records of one size."""

    values: Sequence[np.ndarray] | np.ndarray  # N times (C, *samples) float32

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
        """values: (N, C, *samples) as the encoder sees them. The rest has N entries each, and may be None.

        labels: class of each record, the task 'class'; groups: what no split may cut, such as a patient, where None,
        NaN and '' are unknown; split: train, validation or test, which needs labels. Raises InputError if lengths
        differ, an id is repeated, or a label is missing.
        """
        values = as_array(values, "values").astype(np.float32, copy=False)
        count = len(values)
        names = tuple(map(str, range(count)) if ids is None else as_ids(ids, count, "ids"))
        groups = [None] * count if groups is None else as_names(groups, count, "groups")
        record_groups = tuple(name if group is None else group for name, group in zip(names, groups, strict=True))
        tables = {}
        if labels is not None:
            part = None if split is None else [one or "" for one in as_names(split, count, "split")]
            tables["class"] = LabelTable.of_names(names, as_classes(labels, count), record_groups, part)
        elif split is not None:
            raise InputError("split: belongs to labels, so pass these too")
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
