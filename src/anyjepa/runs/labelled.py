"""The records that a model is evaluated on, as it sees them, and their labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from anyjepa.data.dataset import Dataset, OnError, warn_of_skipped
from anyjepa.data.labels import LabelTable, read_label_table
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.places import PlaceLabels
from anyjepa.data.records import Records
from anyjepa.data.tables.table import IN_MEMORY, as_arrow, digest_of, is_table
from anyjepa.errors import DataWarning, InputError
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model


@dataclass(frozen=True)
class LabelFile:
    """A user's table of labels, in a file or in memory (pandas, polars or Arrow); see `read_label_table`.

    Raises InputError unless `target` is the name of a column, or several names.
    """

    path: Any  # of a file, or the table
    id: str
    target: Sequence[str] | str
    group: str | None = None
    split: str | None = None
    split_by: str = "group"

    def __post_init__(self) -> None:
        names = (self.target,) if isinstance(self.target, str) else self.target
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise InputError(f"labels: target is {names!r}; it must be the name of a column, or a list of names")

    @property
    def file(self) -> Path:
        return IN_MEMORY if is_table(self.path) else Path(self.path)

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes these labels from others: the file or a digest of the table, and the columns."""
        path = digest_of(as_arrow(self.path)) if is_table(self.path) else self.file.resolve()
        return {**vars(self), "path": path, "target": self.targets}

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)


class Labelled(NamedTuple):
    """Prepared records, their labels, and what the labels are called."""

    samples: Dataset
    table: LabelTable | PlaceLabels
    task: str


def labelled(
    model: Model,
    run: Run | None,
    paths: Sequence[Path],
    task: str | None,
    labels: LabelFile | LabelTable | PlaceLabels | None,
    *,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    dense: bool = False,
) -> Labelled:
    """The records in `paths`, or the embedded data set of a run's recipe, and their labels.

    task: one of those that the data have; labels: a table instead; dense: labels per place. Raises InputError. Issues a
    DataWarning for the embedded data set of a run that was trained on other data.
    """
    if not paths:
        _check_embedded(run)
    config = run.recipe.data if run else None
    samples = evaluation_data(model.preprocessing, paths, config, on_error, {"unit": unit})
    samples = samples.without_short(model.encoder.config.patch[0], on_error)
    warn_of_skipped(samples.skipped)
    if dense:
        return _per_place(samples, task, labels)
    if labels is not None:
        return Labelled(samples, _table(labels, _groups(samples)), _title(labels))
    task = task or _only(samples.tasks)
    return Labelled(*samples.for_task(task), task)


def labelled_records(
    model: Model,
    records: Records,
    task: str | None,
    labels: LabelFile | LabelTable | PlaceLabels | None,
    options: Mapping[str, Any],
    dense: bool = False,
) -> Labelled:
    """The same of records in memory, whose labels are their own unless `labels` is a table. Raises InputError."""
    samples = records.dataset(model.prepared(records.raw, **options), model.preprocessing)
    if dense:
        return _per_place(samples, task, labels)
    table = _table(labels, _groups(samples)) if labels is not None else records.table(samples)
    if table is not None:
        return Labelled(samples, table, "labels" if labels is None else _title(labels))
    if not samples.tasks:
        raise InputError("evaluate: pass labels, one class per record")
    task = task or _only(samples.tasks)
    return Labelled(*samples.for_task(task), task)


def _per_place(samples: Dataset, task: str | None, labels: object) -> Labelled:
    """The labels per place of a data set, or those that were passed."""
    if isinstance(labels, PlaceLabels):
        return Labelled(samples, labels, "labels")
    if labels is not None:
        raise InputError("evaluate: protocol dense needs labels per place, not one class per record")
    if task is None and len(samples.place_tasks) == 1:
        task = samples.place_tasks[0]
    return Labelled(samples, samples.places(task or ""), task or "")


def _groups(samples: Dataset) -> dict[str, str] | None:
    """The group of each id, if the data have groups."""
    return dict(zip(samples.ids, samples.groups, strict=True)) if samples.groups_known else None


def _check_embedded(run: Run | None) -> None:
    if run is None:
        raise InputError("evaluate: a model folder needs --data; only a run knows the simulated data of its recipe")
    if (origin := run.environment()["data"]["paths"]) != ["embedded"]:
        warnings.warn(
            f"pretrained on {', '.join(origin)}, but evaluated on the simulated data of the recipe; pass others with "
            "--data",
            DataWarning,
            stacklevel=4,
        )


def _table(labels: LabelFile | LabelTable | PlaceLabels, groups: dict[str, str] | None) -> LabelTable:
    """Read labels. groups: group of each id, if the data have groups."""
    if isinstance(labels, PlaceLabels):
        raise InputError("evaluate: labels per place need protocol dense")
    if isinstance(labels, LabelTable):
        return labels
    by: Any = labels.split_by
    if by not in ("group", "record"):
        raise InputError(f"--split-by {by}: must be 'group' or 'record'")
    return read_label_table(labels.path, labels.id, labels.targets, labels.group or groups, labels.split, split_by=by)


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        advice = f"choose one with --task: {', '.join(names)}" if names else "pass a table with --labels"
        raise InputError(f"evaluate: which task? {advice}")
    return names[0]


def _title(labels: LabelFile | LabelTable | PlaceLabels) -> str:
    if not isinstance(labels, LabelFile):
        return "labels"
    return f"{labels.targets[0]} ({labels.file.stem})" if len(labels.targets) == 1 else labels.file.stem
