"""The records that a model is judged on, as it sees them, and their labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg.beats import TASKS as BEAT_TASKS
from anyjepa.data.ecg.beats import beat_windows
from anyjepa.data.ecg.checks import tell_skipped
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.preprocessing import OnError
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.simulated.simulator import patient_split
from anyjepa.data.ecg.source import find_recordings
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.data.labels import LabelTable, read_label_table
from anyjepa.data.modalities import evaluation_data
from anyjepa.errors import DataWarning, InputError, did_you_mean
from anyjepa.runs.folder import Run
from anyjepa.runs.model import EcgModel, Model


@dataclass(frozen=True)
class LabelFile:
    """A user's table of labels; see `read_label_table`."""

    path: Path | str
    id: str
    target: Sequence[str] | str
    group: str | None = None
    split: str | None = None
    split_by: str = "group"

    @property
    def file(self) -> Path:
        return Path(self.path)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)


class Labelled(NamedTuple):
    """Prepared records, their labels, and what the labels are called."""

    samples: Dataset
    table: LabelTable
    task: str


def labelled(
    model: Model,
    run: Run | None,
    paths: Sequence[Path],
    task: str | None,
    labels: LabelFile | LabelTable | None,
    *,
    unit: str | float | None = None,
    on_error: OnError = "raise",
) -> Labelled:
    """What `paths` hold, or the embedded set of a run's recipe. task: of the data's own; labels: a table instead.

    Raises InputError, and DataWarning for an embedded set that the run was not trained on.
    """
    if not paths:
        _check_embedded(run)
    if isinstance(model, EcgModel):
        return _ecgs(model, run, paths, task, labels, unit, on_error)
    if unit is not None:
        raise InputError("evaluate: --unit is for ECGs")
    samples = evaluation_data(model.preprocessing, paths, run.recipe.data if run else None, on_error)
    tell_skipped(samples.skipped)
    if labels is not None:
        known = dict(zip(samples.ids, samples.groups, strict=True)) if samples.groups_known else None
        return Labelled(samples, _given(labels, known), _title(labels))
    if task is not None and task not in samples.tables:
        raise InputError(f"evaluate: there is no task '{task}'{did_you_mean(task, list(samples.tables))}")
    task = task or _only(tuple(samples.tables))
    return Labelled(samples, samples.tables[task], task)


def _check_embedded(run: Run | None) -> None:
    if run is None:
        raise InputError("evaluate: a model folder needs --data; only a run knows its recipe's embedded set")
    if (origin := run.environment()["data"]["paths"]) != ["embedded"]:
        warnings.warn(
            f"pretrained on {', '.join(origin)}, but judged on the recipe's embedded data; --data names others",
            DataWarning,
            stacklevel=4,
        )


def _ecgs(
    model: EcgModel,
    run: Run | None,
    paths: Sequence[Path],
    task: str | None,
    labels: LabelFile | LabelTable | None,
    unit: str | float | None,
    on_error: OnError,
) -> Labelled:
    if paths:
        reading = read(list(paths), unit=unit, on_error=on_error)
        tell_skipped(reading.skipped)
        recordings = reading.recordings
    else:
        assert run is not None, "checked before"
        recordings = find_recordings(_ecg_config(run), []).recordings
    samples = model.prepare(recordings, on_error)
    tell_skipped(samples.skipped)
    recordings = [recording for recording in recordings if recording.id not in samples.skipped]
    if labels is not None:
        known = {r.id: r.group for r in recordings} if all(r.patient for r in recordings) else None
        table = _given(labels, known)
    else:
        table = task_table(recordings, task or _only(tasks_of(recordings)))
        if not paths and run is not None:
            parts, patients = patient_split(_ecg_config(run).simulator), {r.id: r.patient or "" for r in recordings}
            table = replace(table, split=tuple(parts[patients[id]] for id in table.ids))
    if task in BEAT_TASKS:
        samples = beat_windows(samples, recordings)
    return Labelled(samples, table, task or (_title(labels) if labels is not None else _only(tasks_of(recordings))))


def _ecg_config(run: Run) -> EcgDataConfig:
    if not isinstance(run.recipe.data, EcgDataConfig):
        raise InputError(f"{run.folder}: its recipe's data are {run.recipe.data.kind}, its model is of ECGs")
    return run.recipe.data


def _given(labels: LabelFile | LabelTable, known: dict[str, str] | None) -> LabelTable:
    """known: groups by id, where the data say them."""
    if isinstance(labels, LabelTable):
        return labels
    by: Any = labels.split_by
    if by not in ("group", "record"):
        raise InputError(f"--split-by {by}: it is 'group' or 'record'")
    return read_label_table(labels.path, labels.id, labels.targets, labels.group or known, labels.split, split_by=by)


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        has = f"choose one by --task: {', '.join(names)}" if names else "give a table by --labels"
        raise InputError(f"evaluate: which task? {has}")
    return names[0]


def _title(labels: LabelFile | LabelTable) -> str:
    if isinstance(labels, LabelTable):
        return "labels"
    return f"{labels.targets[0]} ({labels.file.stem})" if len(labels.targets) == 1 else labels.file.stem
