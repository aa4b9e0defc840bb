"""Save the classifier that an evaluation trained, and classify records with it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.classifier import WindowLogits, as_probabilities, record_logits, window_logits
from anyjepa.evaluation.decisions import UNCHOSEN, decide
from anyjepa.evaluation.windows import BATCH, Windows, longer
from anyjepa.runs.predictions import Predictions
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import LoadedModel, read_config, save_model
from anyjepa.weights.model import ClassifierConfig, TrainingRecords

if TYPE_CHECKING:
    from anyjepa.data.dataset import Dataset
    from anyjepa.evaluation.protocol import Fitted


def write_classifier(folder: Path, loaded: LoadedModel, what: str, samples: Dataset, fitted: Fitted) -> Path:
    """Write a classifier from an evaluation of `loaded` as a model folder. Raises InputError if this fails.

    what: protocol and task, for the model card. samples: the evaluated records.
    """
    windows, split = fitted.windows, fitted.split
    causal = fitted.encoder.config.causal
    classifier = ClassifierConfig(
        head=fitted.head.config,
        classes=fitted.classes,
        exclusive=fitted.exclusive,
        window=windows.length,
        stride=windows.length and (windows.stride or max(1, windows.length // 2)) if windows.count is None else None,
        count=windows.count,
        joint=fitted.joint,
        tail=windows.tail,
        thresholds=fitted.thresholds,
        causal=None if causal == loaded.encoder.config.causal else causal,
    )
    notes = [
        f"Its head is the {what}, trained on {len(split.train)} {samples.what[0]}, chosen on "
        f"{len(split.validation)}; on {len(split.test)} others its macro AUROC is {fitted.macro_auroc:.3f} "
        f"(seed {split.seed}, fold {split.fold})."
    ]
    if fitted.unchosen:
        notes.append(
            f"Threshold {UNCHOSEN}, because the validation data have no positives: {', '.join(fitted.unchosen)}."
        )
    made = loaded.config.provenance.model_copy(update={"notes": (*loaded.config.provenance.notes, *notes)})
    weights = "fine-tuned" if fitted.trained else loaded.weights
    changes = {"weights": weights, "predictor": False, "other": None, "classifier": classifier, "provenance": made}
    rows = np.concatenate([split.train, split.validation])
    source = dict(zip(samples.ids, samples.source, strict=True))
    sources = {source[fitted.table.ids[row]] for row in rows}
    used = TrainingRecords.of((), (), (fitted.digests[row] for row in rows), sources)
    return save_model(
        folder,
        loaded.config.model_copy(update=changes),
        nn.ModuleDict({"encoder": fitted.encoder, "head": fitted.head}).state_dict(),
        loaded.preprocessing,
        records=loaded.records and loaded.records | used,
        calibration=fitted.calibration,
    )


def refuse_other_model(folder: Path) -> None:
    """Raise InputError if the folder contains a model without a classifier, such as the encoder of a run."""
    if (folder / "config.json").exists() and read_config(folder).classifier is None:
        raise InputError(
            f"{folder}: contains a model without a classifier, which this would replace; choose another folder"
        )


def classify(loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples, batch: int = BATCH) -> Predictions:
    """Classify records of any length. Raises InputError if the model has no classifier.

    samples: prepared by `preprocessing`. Records are read in the windows of the classifier, shorter ones as a whole.
    Without windows, records longer than the input of the model are read in half-overlapping windows.
    batch: windows that are encoded together.
    """
    config = classifier_of(loaded)
    warn_about_short(config, preprocessing, samples)
    if not config.exclusive and config.thresholds is None:
        text = f"the classifier has no thresholds; {UNCHOSEN} is used for all classes"
        warnings.warn(text, DataWarning, stacklevel=3)
    return compute_predictions(loaded, preprocessing, samples, batch)


def warn_about_short(config: ClassifierConfig, preprocessing: Preprocessing, samples: Samples) -> None:
    """Issue a DataWarning for records that are shorter than the windows of the classifier."""
    fs, limit = preprocessing.rate, config.window
    if limit and (short := ~longer(samples, limit - 1)).any():
        length = f"{limit / fs:g} s" if fs else f"{limit} samples"
        warnings.warn(
            f"{short.sum()} of {len(short)} records are shorter than the classifier's windows of {length} and are read "
            f"whole; the first: {samples.ids[int(short.argmax())]}",
            DataWarning,
            stacklevel=4,
        )


def windows_of(config: ClassifierConfig, preprocessing: Preprocessing) -> Windows:
    """The windows in which a classifier reads a record that is as long as one of them, or longer."""
    length, absolute = config.window or preprocessing.size[0], preprocessing.absolute
    return Windows(length=length, stride=config.stride, count=config.count, tail=config.tail, absolute=absolute)


def window_counts(config: ClassifierConfig, preprocessing: Preprocessing, samples: Samples) -> list[int]:
    """Number of windows of each record."""
    windows = windows_of(config, preprocessing)
    if not longer(samples, windows.length or 0).any():
        return [1] * len(samples)
    return windows.counts(samples).tolist()


@torch_defaults()
def compute_predictions(
    loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples, batch: int = BATCH
) -> Predictions:
    """`classify` without its warnings. batch: windows that are encoded together."""
    config, encoder, head = classifier_of(loaded), loaded.encoder, loaded.head
    if not len(samples):
        raise InputError("there are no records to classify")
    assert head is not None
    of_long = windows_of(config, preprocessing).model_copy(update={"batch": batch})
    limit, fs, ids = of_long.length or 0, preprocessing.rate, samples.ids
    whole, parts = ~longer(samples, limit - 1 if config.window else limit), []
    of_short = Windows(absolute=preprocessing.absolute, batch=batch)
    read = record_logits if config.joint else window_logits
    for rows, windows in ((np.flatnonzero(~whole), of_long), (np.flatnonzero(whole), of_short)):
        if len(rows):
            part = read(encoder, head, SelectedSamples(samples, rows), windows)
            parts.append((part.logits, rows[part.record], part.start, part.vectors))
    logits, record, start, vectors = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(record, kind="stable")
    windows = WindowLogits(logits[order], record[order], start[order], vectors[order])
    probabilities = as_probabilities(windows.mean(len(ids)), config.exclusive)
    decisions = decide(probabilities, _thresholds(config))
    return Predictions(samples.ids, config, probabilities, decisions, windows, fs, loaded.calibration)


def classifier_of(loaded: LoadedModel) -> ClassifierConfig:
    """A model's classifier. Raises InputError if it has none."""
    if loaded.config.classifier is None:
        raise InputError(
            f"{loaded.folder}: this model has no classifier; train and save one with anyjepa evaluate ... "
            "--save-classifier"
        )
    return loaded.config.classifier


def _thresholds(config: ClassifierConfig) -> np.ndarray | None:
    if config.exclusive:
        return None
    return np.array(config.thresholds or [UNCHOSEN] * len(config.classes))
