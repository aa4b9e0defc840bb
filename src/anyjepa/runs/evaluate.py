"""Judge a model on labels: data, task and model in, a result out (and into the run folder)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anyjepa.config import validated
from anyjepa.data.ecg.beats import TASKS as BEAT_TASKS
from anyjepa.data.ecg.beats import beat_windows
from anyjepa.data.ecg.checks import tell_skipped
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import OnError
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.simulator import patient_split
from anyjepa.data.ecg.source import find_recordings
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.data.labels import LabelTable, join, read_label_table
from anyjepa.errors import DataWarning, InputError, did_you_mean
from anyjepa.evaluation import protocol as judging
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig
from anyjepa.evaluation.result import PROTOCOLS, Result
from anyjepa.evaluation.samples import SelectedSamples, Windows
from anyjepa.recipes.presets import load_preset, preset_names
from anyjepa.recipes.schema import merge
from anyjepa.runs.classifier import refuse_other_model, write_classifier
from anyjepa.runs.folder import Run, find_run
from anyjepa.runs.model import Model, load


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


def evaluate(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    protocol: str = "linear",
    task: str | None = None,
    labels: LabelFile | LabelTable | None = None,
    weights: Literal["teacher", "student"] | None = None,
    folds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    name: str | None = None,
    save_classifier: str | Path | None = None,
    progress: Callable[[str], None] = lambda row: None,
    **changes: Any,
) -> Result:
    """Judge an encoder beside its controls: of a run, of a model folder or Hugging Face id, or a loaded one.

    A run keeps the result in `results/<name>.json`, by default one file a question. data: files or folders; a run
    without them is judged on its recipe's embedded set, training patients against test patients. protocol: linear, knn,
    attentive, finetune, supervised, or a published one by name (`anyjepa recipes` lists them). task: one that the data
    name; labels: a table instead. folds: cross-validation in that many parts. unit: of the files, over what they say.
    on_error: a record that cannot be read or prepared (a missing lead): an error, or left out, with a warning.
    settings: keys of `EvaluationConfig`, laid over the recipe's or the protocol's; changes: the same as keywords
    (seeds=, low_shot=, min_count=). save_classifier: a model folder for the encoder and its head of the first split,
    which `anyjepa predict` uses. progress: told each row's name before it is computed. Raises InputError.
    """
    run = model if isinstance(model, Run) else None if isinstance(model, Model) else find_run(Path(model))
    loaded = model if isinstance(model, Model) else load(run.model if run else str(model), weights)
    paths = [Path(p) for p in ([data] if isinstance(data, (str, Path)) else data)]
    if save_classifier:
        refuse_other_model(Path(save_classifier))
    recordings = _recordings(run, paths, unit, on_error)
    samples = loaded.prepare(recordings, on_error)
    tell_skipped(samples.skipped)
    recordings = [recording for recording in recordings if recording.id not in samples.skipped]
    table = _table(recordings, labels, task, run if not paths else None)
    if task in BEAT_TASKS:
        samples = beat_windows(samples, recordings)
    usual = _protocol(protocol, run.recipe.evaluation if run else EvaluationConfig(), loaded)
    asked = _config(usual, folds, merge(merge({}, settings or {}), changes))
    config = asked.model_copy(update={"windows": _windows(asked.windows, samples, loaded)})
    task = task or _title(labels, recordings)
    candidate = Candidate(loaded.encoder, loaded.loaded.weights, loaded.loaded.records)
    where = ", ".join(path.name for path in paths) or "simulated ECGs"
    what = f"{asked.title} of {task} on {where}"
    keep = partial(write_classifier, Path(save_classifier), loaded, what, samples) if save_classifier else None
    result = judging.evaluate(
        {f"pretrained ({loaded.loaded.weights})": candidate},
        samples,
        table,
        config,
        task=task,
        data=", ".join(str(p) for p in paths) or "simulated ECGs",
        sources=dict(zip(samples.ids, samples.source, strict=True)),
        patients=dict(zip(samples.ids, samples.groups, strict=True)),
        cache=run.folder / "features" if run else None,
        progress=progress,
        keep=keep,
    )
    if run:
        hidden = _hidden(asked, usual, labels, paths, unit)
        _keep(run, name or _name(asked, task, paths, loaded.loaded.weights, hidden), result)
        if config.protocol == "linear":
            _map(run, loaded, samples, table, config.windows)
    return result


def _recordings(run: Run | None, paths: Sequence[Path], unit: str | float | None, on_error: OnError) -> list[Recording]:
    if paths:
        reading = read(list(paths), unit=unit, on_error=on_error)
        tell_skipped(reading.skipped)
        return reading.recordings
    if run is None:
        raise InputError("evaluate: a model folder needs --data; only a run knows its recipe's embedded set")
    if (origin := run.environment()["data"]["paths"]) != ["embedded"]:
        warnings.warn(
            f"pretrained on {', '.join(origin)}, but judged on simulated ECGs; --data names others",
            DataWarning,
            stacklevel=3,
        )
    return find_recordings(run.recipe.data, []).recordings


def _table(
    recordings: list[Recording], labels: LabelFile | LabelTable | None, task: str | None, run: Run | None
) -> LabelTable:
    if isinstance(labels, LabelTable):
        return labels
    if isinstance(labels, LabelFile):
        by: Any = labels.split_by
        if by not in ("group", "record"):
            raise InputError(f"--split-by {by}: it is 'group' or 'record'")
        known = {r.id: r.group for r in recordings} if all(r.patient for r in recordings) else None
        return read_label_table(
            labels.path, labels.id, labels.targets, labels.group or known, labels.split, split_by=by
        )
    table = task_table(recordings, task or _only_task(recordings))
    if run is None:
        return table
    parts, patients = patient_split(run.recipe.data.simulator), {r.id: r.patient or "" for r in recordings}
    return replace(table, split=tuple(parts[patients[id]] for id in table.ids))


def _only_task(recordings: Sequence[Recording]) -> str:
    names = tasks_of(recordings)
    if len(names) != 1:
        has = f"choose one by --task: {', '.join(names)}" if names else "give a table by --labels"
        raise InputError(f"evaluate: which task? {has}")
    return names[0]


def _title(labels: LabelFile | LabelTable | None, recordings: Sequence[Recording]) -> str:
    if labels is None:
        return _only_task(recordings)
    if isinstance(labels, LabelTable):
        return "labels"
    return f"{labels.targets[0]} ({labels.file.stem})" if len(labels.targets) == 1 else labels.file.stem


def _protocol(name: str, usual: EvaluationConfig, model: Model) -> EvaluationConfig:
    """The recipe's evaluation by this protocol; a published one brings all its values."""
    if name in PROTOCOLS:
        return _config(usual, None, {"protocol": name})
    if name not in preset_names():
        raise InputError(f"evaluate: there is no protocol '{name}'{did_you_mean(name, [*PROTOCOLS, *preset_names()])}")
    return _config(usual, None, load_preset(name).settings(model.preprocessing.fs, model.encoder.config.patch[0]))


def _config(usual: EvaluationConfig, folds: int | None, changes: Mapping[str, Any]) -> EvaluationConfig:
    """`usual` with what was asked for laid over it."""
    plain = merge(usual.model_dump(), changes)
    if folds is not None:
        plain["split"] = {"kind": "folds", "folds": folds}
    low_shot = plain.get("low_shot")
    if isinstance(low_shot, float) and low_shot >= 1:
        if not low_shot.is_integer():
            raise InputError(f"low_shot {low_shot}: labels a class are whole, a share is below 1")
        plain["low_shot"] = int(low_shot)
    config = validated(EvaluationConfig, plain, "evaluation")
    of_preset = ("protocol", "windows", "attentive", "finetune")
    if usual.preset and any(getattr(config, key) != getattr(usual, key) for key in of_preset):
        return config.model_copy(update={"preset": f"{usual.preset}, changed"})
    return config


def _windows(windows: Windows, samples: EcgDataset, model: Model) -> Windows:
    """Long records in windows of the model's length."""
    full = model.preprocessing.samples
    long = windows.length is None and max(signal.shape[1] for signal in samples.signals) > full
    length = full if long else windows.length
    return windows.model_copy(update={"length": length, "absolute": model.preprocessing.absolute_time})


def _name(config: EvaluationConfig, task: str, paths: Sequence[Path], weights: str, hidden: str) -> str:
    """Such that two questions never share a file, and one asked again replaces its answer."""
    few = "" if config.low_shot is None else f"{config.low_shot}-{'labels' if config.low_shot >= 1 else 'share'}"
    data = "-".join(path.resolve().stem for path in paths)
    shown = "-".join(
        filter(None, (config.preset or config.protocol, task, few, data, weights if weights == "student" else ""))
    )
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", shown).strip("-")[:100], hidden)))


def _hidden(
    asked: EvaluationConfig,
    usual: EvaluationConfig,
    labels: LabelFile | LabelTable | None,
    paths: Sequence[Path],
    unit: str | float | None,
) -> str:
    """A digest of what the name does not spell out: folders, columns, splits, settings; nothing if all is usual."""
    table: Any = None
    if isinstance(labels, LabelFile):
        table = {**vars(labels), "path": labels.file.resolve(), "target": labels.targets}
    elif labels is not None:
        table = {**vars(labels), "values": labels.values.tolist()}
    settings, plain = (c.model_dump(exclude={"protocol", "low_shot"}) for c in (asked, usual))
    others = {key: value for key, value in settings.items() if value != plain[key]}
    if table is None and not paths and unit is None and not others:
        return ""
    question = (table, [path.resolve() for path in paths], unit, others)
    return blake2b(repr(question).encode(), digest_size=4).hexdigest()


def _keep(run: Run, name: str, result: Result) -> None:
    run.results.mkdir(exist_ok=True)
    (run.results / f"{name}.json").write_text(result.to_json())


def _map(run: Run, model: Model, samples: EcgDataset, table: LabelTable, windows: Windows) -> None:
    """Embeddings with labels, for the report's map."""
    joined = join(table, samples.ids)
    rows = joined.index[: min(len(joined.index), 2000)]
    features = mean_features(model.encoder, SelectedSamples(samples, rows), windows)
    names = np.array([*joined.table.classes, "none"])
    values = joined.table.values[: len(rows)]
    labels = names[np.where(values.any(1), values.argmax(1), len(names) - 1)]
    run.artifacts.mkdir(exist_ok=True)
    split = np.array(joined.table.split[: len(rows)] if joined.table.split else ["all"] * len(rows))
    np.savez_compressed(run.artifacts / "embedding.npz", features=features, labels=labels, split=split)
