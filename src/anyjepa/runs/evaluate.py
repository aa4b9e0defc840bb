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
from anyjepa.errors import InputError, did_you_mean
from anyjepa.evaluation import protocol as protocols
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig
from anyjepa.evaluation.result import PROTOCOLS, Result
from anyjepa.evaluation.windows import Windows
from anyjepa.objectives.base import Weights
from anyjepa.recipes.plain import merge
from anyjepa.recipes.presets import load_preset, preset_names
from anyjepa.runs.classifier import refuse_other_model, write_classifier
from anyjepa.runs.embedding_pictures import keep_embedding
from anyjepa.runs.folder import Run, find_run
from anyjepa.runs.labelled import LabelFile, labelled
from anyjepa.runs.model import Model, load
from anyjepa.torch_defaults import torch_defaults


@torch_defaults()
def evaluate(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    protocol: str = "linear",
    task: str | None = None,
    labels: LabelFile | LabelTable | None = None,
    weights: Weights | None = None,
    folds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    name: str | None = None,
    save_classifier: str | Path | None = None,
    progress: Callable[[str], None] = lambda row: None,
    **changes: Any,
) -> Result:
    """Evaluate an encoder next to its controls: of a run, of a model folder or Hugging Face id, or a loaded one.

    A run keeps the result in `results/<name>.json`, by default one file per question. data: files or folders; a run
    without them is evaluated on its recipe's embedded data set, training patients against test patients. protocol:
    linear, knn, attentive, finetune, supervised, or a published one by name (`anyjepa recipes` lists them). task: one
    that the data name; labels: a table instead. folds: cross-validation in that many parts. unit: of the files, over
    what they say. on_error: raise an error for a record that cannot be read or prepared, or skip it with a warning.
    settings: keys of `EvaluationConfig`, laid over the recipe's or the protocol's; changes: the same as keywords
    (seeds=, low_shot=, min_count=). save_classifier: a model folder for the encoder and its head of the first split,
    which `anyjepa predict` uses. progress: told each row's name before it is computed. Raises InputError.
    """
    run = model if isinstance(model, Run) else None if isinstance(model, Model) else find_run(Path(model))
    loaded = model if isinstance(model, Model) else load(run.model if run else str(model), weights)
    paths = [Path(p) for p in ([data] if isinstance(data, (str, Path)) else data)]
    if save_classifier:
        refuse_other_model(Path(save_classifier))
    samples, table, task = labelled(loaded, run, paths, task, labels, unit=unit, on_error=on_error)
    usual = _protocol(protocol, run.recipe.evaluation if run else EvaluationConfig(), loaded)
    asked = _config(usual, folds, merge(merge({}, settings or {}), changes))
    config = asked.model_copy(update={"windows": _windows(asked.windows, samples, loaded)})
    candidate = Candidate(loaded.encoder, loaded.loaded.weights, loaded.loaded.records)
    embedded = f"embedded {samples.what[0]}"
    where = ", ".join(path.name for path in paths) or embedded
    unit_read = f", read as {unit}" if unit else ""
    what = f"{asked.title} of {task} on {where}{unit_read}"
    keep = partial(write_classifier, Path(save_classifier), loaded.loaded, what, samples) if save_classifier else None
    result = protocols.evaluate(
        {f"pretrained ({loaded.loaded.weights})": candidate},
        samples,
        table,
        config,
        task=task,
        data=(", ".join(str(p) for p in paths) or embedded) + unit_read,
        sources=dict(zip(samples.ids, samples.source, strict=True)),
        patients=dict(zip(samples.ids, samples.groups, strict=True)),
        what=samples.what,
        cache=run.folder / "features" if run else None,
        progress=progress,
        keep=keep,
    )
    if run:
        hidden = _hidden(asked, usual, labels, paths, unit)
        _keep(run, name or _name(asked, task, paths, loaded.loaded.weights, hidden), result)
        if config.protocol == "linear":
            keep_embedding(run, loaded, samples, table, config.windows)
    return result


def _protocol(name: str, usual: EvaluationConfig, model: Model) -> EvaluationConfig:
    """The recipe's evaluation by this protocol; a published one brings all its values."""
    if name in PROTOCOLS:
        return _config(usual, None, {"protocol": name})
    if name not in preset_names():
        raise InputError(f"evaluate: there is no protocol '{name}'{did_you_mean(name, [*PROTOCOLS, *preset_names()])}")
    return _config(usual, None, load_preset(name).settings(model.preprocessing.rate, model.encoder.config.patch[0]))


def _config(usual: EvaluationConfig, folds: int | None, changes: Mapping[str, Any]) -> EvaluationConfig:
    """`usual` with what was asked for laid over it."""
    plain = merge(usual.model_dump(), changes)
    if folds is not None:
        plain["split"] = {"kind": "folds", "folds": folds}
    low_shot = plain.get("low_shot")
    if isinstance(low_shot, float) and low_shot >= 1:
        if not low_shot.is_integer():
            raise InputError(f"low_shot {low_shot}: the number of labels per class is whole, a share is below 1")
        plain["low_shot"] = int(low_shot)
    config = validated(EvaluationConfig, plain, "evaluation")
    of_preset = ("protocol", "windows", "attentive", "finetune")
    if usual.preset and any(getattr(config, key) != getattr(usual, key) for key in of_preset):
        return config.model_copy(update={"preset": f"{usual.preset}, changed"})
    return config


def _windows(windows: Windows, samples: Dataset, model: Model) -> Windows:
    """Long records in windows of the model's length."""
    full = model.preprocessing.size[0]
    long = windows.length is None and samples.longest > full
    length = full if long else windows.length
    return windows.model_copy(update={"length": length, "absolute": model.preprocessing.absolute})


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
    result.to_json(run.results / f"{name}.json")
