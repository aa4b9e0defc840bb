"""Evaluate a model with labels; a run keeps the result in its folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from anyjepa.config import validated
from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.labels import LabelTable
from anyjepa.data.modalities import modality_of
from anyjepa.data.places import PlaceLabels
from anyjepa.data.records import Records, as_paths, refuse_for_files
from anyjepa.data.samples import signal_hashes
from anyjepa.data.split_files import with_split
from anyjepa.errors import InputError, did_you_mean
from anyjepa.evaluation import protocol as protocols
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig
from anyjepa.evaluation.result import PROTOCOLS, Result
from anyjepa.evaluation.windows import Windows
from anyjepa.objectives.base import Weights
from anyjepa.progress import reported, stage
from anyjepa.recipes.plain import merge
from anyjepa.recipes.presets import load_preset, preset_names
from anyjepa.runs.classifier import refuse_other_model, write_classifier
from anyjepa.runs.embedding_pictures import keep_embedding
from anyjepa.runs.folder import Run
from anyjepa.runs.labelled import LabelFile, labelled, labelled_records
from anyjepa.runs.model import Model, run_and_model
from anyjepa.torch_defaults import torch_defaults


@torch_defaults()
def evaluate(
    model: str | Path | Run | Model,
    data: Any = (),
    *,
    protocol: str = "linear",
    task: str | None = None,
    labels: Any = None,
    groups: Any = None,
    ids: Any = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    weights: Weights | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    low_shot: float | None = None,
    min_count: int | None = None,
    from_scratch: bool | None = None,
    bootstrap: int | None = None,
    settings: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
    name: str | None = None,
    save_classifier: str | Path | None = None,
    progress: Callable[[str], object] | None = None,
) -> Result:
    """Evaluate an encoder with labels, and compare it with controls.

    For a run, the result is saved as `results/<name>.json`, and different settings get different names.

    model: a run, a run or model folder, a Hugging Face id, or a loaded model.
    data: files or folders, or records in memory as for `pretrain`. Default for a run: the simulated data set of its
        recipe, where training and test patients differ. A run that held records out is tested on these, unless the
        labels have a split or `folds` is set.
    protocol: linear, knn, attentive, finetune, supervised, dense, or a published one (see `anyjepa recipes`).
    task: a task that the data set defines, such as 'rhythm'.
    labels: instead of a task, the class of each record in memory, a `LabelFile` or a `LabelTable`; for dense, a
        `PlaceLabels`.
    groups, ids, fs, leads: of records in memory; see `pretrain`.
    unit: of ECGs; overrides the unit in files.
    weights: teacher, average, student or target; by default those of the model.
    folds: number of folds for cross-validation.
    seeds, low_shot, min_count, from_scratch, bootstrap: keys of `EvaluationConfig`, which override the recipe or
        protocol.
    settings: any other keys of `EvaluationConfig`, as a nested mapping.
    on_error: raise an error for a record that cannot be read or prepared, or skip it with a warning.
    name: name of the result file, without its suffix.
    save_classifier: model folder to write, with the encoder and the head of the first split, for `anyjepa predict`.
    progress: called with the name of each stage, such as a row of the result; notebooks show progress by default.

    Raises InputError.
    """
    run, loaded = run_and_model(model, weights)
    paths = as_paths(data)
    if save_classifier:
        refuse_other_model(Path(save_classifier))
    usual = _protocol(protocol, run.recipe.evaluation if run else EvaluationConfig(), loaded)
    changes = {
        "seeds": seeds,
        "low_shot": low_shot,
        "min_count": min_count,
        "from_scratch": from_scratch,
        "bootstrap": bootstrap,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    requested = _config(usual, folds, merge(merge({}, settings or {}), changes))
    if requested.protocol != usual.protocol:
        raise InputError(
            f"evaluation.protocol is {requested.protocol}, but the evaluation uses {protocol}; "
            f"pass --protocol {requested.protocol} (in Python: protocol='{requested.protocol}') instead of the setting"
        )
    dense = usual.protocol == "dense"
    if dense and save_classifier:
        raise InputError("evaluate: a probe on single tokens cannot be saved as a classifier; choose another protocol")
    options = {"fs": fs, "leads": leads, "unit": unit}
    of_file = labels if isinstance(labels, (LabelFile, LabelTable, PlaceLabels)) else None
    own = None if of_file is not None else labels
    if paths is None:
        records = Records.of(data, labels=own, groups=groups, ids=ids)
        if on_error == "skip":
            raise InputError("on_error: skip is for files; remove records in memory that cannot be used")
        samples, table, task = labelled_records(loaded, records, task, of_file, options, dense)
    else:
        refuse_for_files({"labels": own, "groups": groups, "ids": ids, "fs": fs, "leads": leads})
        how = {"unit": unit, "on_error": on_error, "dense": dense}
        with reported(progress), stage("reading the data", announced=False):
            samples, table, task = labelled(loaded, run, paths, task, of_file, **how)
    if run and isinstance(table, LabelTable) and table.split is None and (parts := run.split()):
        table = _split(table, parts, samples, run)
    config = requested.model_copy(update={"windows": _windows(requested.windows, samples, loaded)})
    candidate = Candidate(loaded.encoder, loaded.loaded.weights, loaded.loaded.records)
    words = modality_of(loaded.preprocessing).dataset.what
    origin = f"{words[0]} in memory" if paths is None else f"embedded {words[0]}"
    where = ", ".join(path.name for path in paths or ()) or origin
    unit_read = f", read as {unit}" if unit and paths is not None else ""
    what = f"{requested.title} of {task} on {where}{unit_read}"
    keep = partial(write_classifier, Path(save_classifier), loaded.loaded, what, samples) if save_classifier else None
    named = {
        "task": task,
        "data": (", ".join(str(p) for p in paths or ()) or origin) + unit_read,
        "cache": run.folder / "features" if run else None,
    }
    candidates = {f"pretrained ({loaded.loaded.weights})": candidate}
    with reported(progress):
        if isinstance(table, PlaceLabels):
            result = protocols.evaluate_places(candidates, samples, table, config, loaded.encoder.config.patch, **named)
        else:
            result = protocols.evaluate(
                candidates,
                samples,
                table,
                config,
                sources={} if paths is None else dict(zip(samples.ids, samples.source, strict=True)),
                patients=dict(zip(samples.ids, samples.groups, strict=True)),
                what=words,
                keep=keep,
                **named,
            )
    if run:
        arrays = None if paths is not None else (signal_hashes(samples), *_in_full(table))
        hidden = _hidden(requested, usual, of_file, paths or (), unit, arrays)
        stem = name or _name(requested, task, paths, loaded.loaded.weights, hidden)
        result.to_json(run.results / f"{stem}.json")
        if config.protocol == "linear" and isinstance(table, LabelTable):
            keep_embedding(run, loaded, samples, table, config)
    return result


def _split(table: LabelTable, parts: LabelTable, samples: Dataset, run: Run) -> LabelTable:
    """The labels with the split that pretraining left records out by. Raises InputError."""
    try:
        return with_split(table, parts, dict(zip(samples.ids, samples.groups, strict=True)))
    except InputError as error:
        raise InputError(f"{run.split_file}: {error}; use the groups that were split, or --folds") from None


def _protocol(name: str, usual: EvaluationConfig, model: Model) -> EvaluationConfig:
    """Settings of the recipe with this protocol, or all settings of a published protocol."""
    if name in PROTOCOLS:
        return _config(usual, None, {"protocol": name})
    if name not in preset_names():
        raise InputError(f"evaluate: there is no protocol '{name}'{did_you_mean(name, [*PROTOCOLS, *preset_names()])}")
    return _config(usual, None, load_preset(name).settings(model.preprocessing.rate, model.encoder.config.patch[0]))


def _config(usual: EvaluationConfig, folds: int | None, changes: Mapping[str, Any]) -> EvaluationConfig:
    """Apply changes to the settings `usual`."""
    plain = merge(usual.model_dump(), changes)
    if folds is not None:
        plain["split"] = {"kind": "folds", "folds": folds}
    low_shot = plain.get("low_shot")
    if isinstance(low_shot, float) and low_shot >= 1:
        if not low_shot.is_integer():
            raise InputError(f"low_shot {low_shot}: must be a whole number of labels per class, or a share below 1")
        plain["low_shot"] = int(low_shot)
    config = validated(EvaluationConfig, plain, "evaluation")
    of_preset = ("protocol", "windows", "attentive", "finetune")
    if usual.preset and any(getattr(config, key) != getattr(usual, key) for key in of_preset):
        return config.model_copy(update={"preset": f"{usual.preset}, changed"})
    return config


def _windows(windows: Windows, samples: Dataset, model: Model) -> Windows:
    """Windows of the length of the model for long records."""
    full = model.preprocessing.size[0]
    long = windows.length is None and samples.longest > full
    length = full if long else windows.length
    return windows.model_copy(update={"length": length, "absolute": model.preprocessing.absolute})


def _name(config: EvaluationConfig, task: str, paths: Sequence[Path] | None, weights: str, hidden: str) -> str:
    """File name of a result. Equal settings give the same name, so that a new result replaces the old one."""
    few = "" if config.low_shot is None else f"{config.low_shot}-{'labels' if config.low_shot >= 1 else 'share'}"
    data = "arrays" if paths is None else "-".join(path.resolve().stem for path in paths)
    shown = "-".join(
        filter(None, (config.preset or config.protocol, task, few, data, weights if weights == "student" else ""))
    )
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", shown).strip("-")[:100], hidden)))


def _in_full(table: LabelTable | PlaceLabels) -> tuple[object, object]:
    """Labels as lists, whose text is not abbreviated, and groups or ids."""
    if isinstance(table, PlaceLabels):
        return [array.tolist() for array in table.labels], table.ids
    return table.values.tolist(), table.groups


def _hidden(
    requested: EvaluationConfig,
    usual: EvaluationConfig,
    labels: LabelFile | LabelTable | PlaceLabels | None,
    paths: Sequence[Path],
    unit: str | float | None,
    arrays: object,
) -> str:
    """Digest of what the name does not include: folders, columns, splits and settings; '' if all are usual."""
    table: Any = None
    if isinstance(labels, LabelFile):
        table = labels.identity
    elif labels is not None:
        table = {**vars(labels), "values": _in_full(labels)[0]}
    settings, plain = (c.model_dump(exclude={"protocol", "low_shot"}) for c in (requested, usual))
    others = {key: value for key, value in settings.items() if value != plain[key]}
    if table is None and not paths and arrays is None and unit is None and not others:
        return ""
    question = (table, [path.resolve() for path in paths], unit, others, *([] if arrays is None else [arrays]))
    return blake2b(repr(question).encode(), digest_size=4).hexdigest()
