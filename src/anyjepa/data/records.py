"""Raw records in memory, as callers pass them: an array, a list of arrays, AnnData, or a PyTorch data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.array_likes import as_classes, as_ids, as_names, as_records
from anyjepa.data.dataset import ArrayDataset, Dataset, all_groups
from anyjepa.data.labels import LabelTable
from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples
from anyjepa.errors import InputError


@dataclass(frozen=True, eq=False)
class Records:
    """N raw records with the ids, groups and labels that the caller passed, matched by position."""

    raw: Any  # a list of N records, or AnnData
    ids: tuple[str, ...]
    named: bool  # whether the caller passed ids; if not, they are positions, which do not identify records
    groups: tuple[str | None, ...] | None = None  # None: unknown
    labels: tuple[str, ...] | None = None
    array: np.ndarray | None = None  # the array whose records `raw` lists; None if there was no single array

    @classmethod
    def of(cls, data: Any, *, labels: Any = None, groups: Any = None, ids: Any = None) -> Records:
        """Create from an array whose first axis is the records, a list of arrays, AnnData, or a PyTorch data set.

        A `torch.utils.data.Dataset` is read once; its items must be arrays, or pairs of an array and a label.

        Raises InputError if lengths differ, an id is repeated, or a label is missing.
        """
        if isinstance(data, Dataset):
            raise InputError("data: is already prepared; pass the raw records")
        named, array = ids is not None, None
        if is_anndata(data):
            if named:
                raise InputError("ids: AnnData has the ids of its cells in obs_names; leave ids out")
            raw, ids, named = data, data.obs_names, True
        elif _of_torch(data):
            raw, paired = _read(data)
            if paired is not None and labels is not None:
                raise InputError("labels: the data set has pairs of an array and a label; leave labels out")
            labels = paired if paired is not None else labels
        else:
            raw = as_records(data, "data")
            array = raw if isinstance(raw, np.ndarray) else None
            if array is not None and not array.ndim:
                raise InputError("data: is one number; the first axis must be the records")
            raw = list(raw)
        count = len(ids) if is_anndata(raw) else len(raw)
        if not count:
            raise InputError("data: contains no record")
        return cls(
            raw,
            tuple(map(str, range(count)) if ids is None else as_ids(ids, count, "ids")),
            named,
            None if groups is None else tuple(as_names(groups, count, "groups")),
            None if labels is None else tuple(as_classes(labels, count)),
            array,
        )

    def dataset(self, samples: Samples, preprocessing: Preprocessing) -> Dataset:
        """Make a data set of the prepared records `samples`, with the groups of these records."""
        if isinstance(samples, Dataset):
            return self.grouped(samples)
        values = [samples[place] for place in range(len(samples))]
        return self.grouped(
            ArrayDataset(
                ids=self.ids,
                groups=self.ids,
                groups_known=False,
                source=("array",) * len(values),
                preprocessing=preprocessing,
                values=values,
            )
        )

    def grouped(self, dataset: Dataset) -> Dataset:
        """Add the groups to a data set of (some of) these records. Raises InputError if the data are one record."""
        if self.array is not None and dataset.preprocessing.is_single(self.array):
            raise InputError(
                f"data: shape {self.array.shape} is that of one record; the first axis must be the records"
            )
        if self.groups is None:
            return dataset
        group = dict(zip(self.ids, self.groups, strict=True))
        groups = [group[id] for id in dataset.ids]
        return replace(
            dataset,
            groups=all_groups(dataset.ids, groups, dataset.source),
            groups_known=None not in groups,
        )

    def table(self, dataset: Dataset) -> LabelTable | None:
        """The labels of a data set of these records or of some of them, one class per record; None without labels."""
        if self.labels is None:
            return None
        label = dict(zip(self.ids, self.labels, strict=True))
        return LabelTable.of_names(dataset.ids, [label[id] for id in dataset.ids], dataset.groups)


def as_paths(data: Any) -> list[Path] | None:
    """Convert a path, or a list of paths, to a list; None for anything else."""
    if isinstance(data, (str, Path)):
        return [Path(data)]
    listed = isinstance(data, Sequence) and all(isinstance(path, (str, Path)) for path in data)
    return [Path(path) for path in data] if listed else None


def refuse_for_files(options: Mapping[str, Any]) -> None:
    """Raise InputError for an option that is set, because it describes records in memory and the data are not."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name}: describes records in memory, but the data are files or already prepared")


def is_anndata(data: Any) -> bool:
    """Whether the data are AnnData; works without the package."""
    return hasattr(data, "obs_names") and hasattr(data, "var_names")


def raw_records(data: Any) -> Any:
    """Convert a PyTorch data set to a list of its records, as `Model.embed` needs; returns anything else unchanged."""
    return _read(data)[0] if _of_torch(data) else data


def _of_torch(data: Any) -> bool:
    from torch.utils.data import DataLoader, Dataset

    if isinstance(data, DataLoader):
        raise InputError("data: is a DataLoader, whose items are batches; pass its data set")
    return isinstance(data, Dataset)


def _read(data: Any) -> tuple[list[Any], list[Any] | None]:
    """The records of a data set, and their labels if its items are pairs. Raises InputError."""
    from torch.utils.data import IterableDataset

    items = list(data) if isinstance(data, IterableDataset) else [data[place] for place in range(len(data))]
    parts: list[tuple[Any, ...]] = [item if isinstance(item, tuple) else (item,) for item in items]
    for place, part in enumerate(parts):
        if len(part) not in (1, 2) or len(part) != len(parts[0]):
            raise InputError(
                f"data[{place}]: has {len(part)} parts; the items of a data set are arrays, or all are pairs of an "
                "array and a label"
            )
        if np.ndim(part[-1]) and len(part) == 2:
            raise InputError(f"data[{place}]: its label has shape {np.shape(part[-1])}; it must be one class")
    paired = bool(parts) and len(parts[0]) == 2
    return [part[0] for part in parts], [part[1] for part in parts] if paired else None
