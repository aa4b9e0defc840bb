"""Save the classifier that an evaluation trained, and classify records with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.classifier import WindowLogits, as_probabilities, record_logits, window_logits
from anyjepa.evaluation.decisions import UNCHOSEN, decide
from anyjepa.evaluation.windows import Windows, longer
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import LoadedModel, read_config, save_model
from anyjepa.weights.model import ClassifierConfig, TrainingRecords

if TYPE_CHECKING:
    import pandas as pd

    from anyjepa.data.dataset import Dataset
    from anyjepa.evaluation.protocol import Fitted


def write_classifier(folder: Path, loaded: LoadedModel, what: str, samples: Dataset, fitted: Fitted) -> Path:
    """Write a classifier that an evaluation of `loaded` trained as a model folder. Raises InputError if it cannot.

    what: the protocol and the task in words, for the model card; samples: the evaluated records.
    """
    windows, split, table = fitted.windows, fitted.split, fitted.table
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
            f"Decided at {UNCHOSEN}, for want of positives to choose a threshold: {', '.join(fitted.unchosen)}."
        )
    made = loaded.config.provenance.model_copy(update={"notes": (*loaded.config.provenance.notes, *notes)})
    weights = "fine-tuned" if fitted.trained else loaded.weights
    changes = {"weights": weights, "predictor": False, "other": None, "classifier": classifier, "provenance": made}
    rows = np.concatenate([split.train, split.validation])
    ids, groups, digests = ([column[row] for row in rows] for column in (table.ids, table.groups, fitted.digests))
    place = {name: i for i, name in enumerate(samples.ids)}
    patients, sources = ([column[place[name]] for name in ids] for column in (samples.groups, samples.source))
    used = TrainingRecords.of(ids, [*groups, *patients], digests, sources)
    return save_model(
        folder,
        loaded.config.model_copy(update=changes),
        nn.ModuleDict({"encoder": fitted.encoder, "head": fitted.head}).state_dict(),
        loaded.preprocessing,
        records=loaded.records and loaded.records | used,
    )


def refuse_other_model(folder: Path) -> None:
    """Raise InputError if the folder holds a model without a classifier, such as a run's own encoder."""
    if (folder / "config.json").exists() and read_config(folder).classifier is None:
        raise InputError(
            f"{folder}: holds a model without a classifier, which this would replace; choose another folder"
        )


@dataclass(frozen=True)
class Predictions:
    """Probabilities and decisions of a classifier for N records."""

    ids: tuple[str, ...]
    config: ClassifierConfig
    probabilities: np.ndarray  # (N, C)
    decisions: np.ndarray  # (N, C) whether each class applies
    windows: WindowLogits  # of every window (all as one if read jointly); a record's probabilities come from the mean
    fs: float | None  # Hz, of the windows' starts; None: records without time

    @property
    def driven_by_s(self) -> np.ndarray | None:
        """(N, C) start in s of the window that speaks most for each class; None for records without time, or if all
        windows are read jointly."""
        return None if self.fs is None or self.config.joint else self.windows.strongest(len(self.ids)) / self.fs

    def table(self) -> pd.DataFrame:
        """One row per record: id, the number of windows, and for each class its probability and the start in s of the
        window that speaks most for it. Exclusive classes have one column with the predicted class, others a decision
        each.
        """
        import pandas as pd

        classes = self.config.classes
        columns: dict[str, object] = {"id": self.ids}
        if self.config.exclusive:
            columns["class"] = [classes[place] for place in self.decisions.argmax(1)]
        driven = self.driven_by_s
        for place, name in enumerate(classes):
            columns[f"{name}.probability"] = self.probabilities[:, place]
            if not self.config.exclusive:
                columns[f"{name}.decision"] = self.decisions[:, place]
            if driven is not None:
                columns[f"{name}.window_s"] = driven[:, place]
        columns["windows"] = np.bincount(self.windows.record, minlength=len(self.ids))
        return pd.DataFrame(columns)

    def window_table(self) -> pd.DataFrame:
        """One row per window: id, start_s (without a rate: start, in samples), and the logit of each class. The mean of
        a record's windows is the record's logit."""
        import pandas as pd

        windows = self.windows
        start = {"start": windows.start} if self.fs is None else {"start_s": windows.start / self.fs}
        columns = {"id": [self.ids[place] for place in windows.record]} | start
        logits = {f"{name}.logit": windows.logits[:, place] for place, name in enumerate(self.config.classes)}
        return pd.DataFrame(columns | logits)


@torch_defaults()
def classify(loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples) -> Predictions:
    """Classify records of any length. Raises InputError if the model has no classifier.

    samples: prepared by `preprocessing`. Records are read in the classifier's windows, and shorter ones as a whole.
    A classifier without windows reads records longer than the model's input in half-overlapping windows.
    """
    config, encoder, head = classifier_of(loaded), loaded.encoder, loaded.head
    if not len(samples):
        raise InputError("there are no records to classify")
    assert head is not None
    limit, fs, ids = config.window or preprocessing.size[0], preprocessing.rate, samples.ids
    whole = ~longer(samples, limit - 1 if config.window else limit)
    if config.window and whole.any():
        length = f"{limit / fs:g} s" if fs else f"{limit} samples"
        warnings.warn(
            f"{whole.sum()} of {len(ids)} records are shorter than the classifier's windows of {length} and are read "
            f"whole; the first: {ids[int(whole.argmax())]}",
            DataWarning,
            stacklevel=3,
        )
    absolute, parts = preprocessing.absolute, []
    of_long = Windows(length=limit, stride=config.stride, count=config.count, tail=config.tail, absolute=absolute)
    read = record_logits if config.joint else window_logits
    for rows, windows in ((np.flatnonzero(~whole), of_long), (np.flatnonzero(whole), Windows(absolute=absolute))):
        if len(rows):
            part = read(encoder, head, SelectedSamples(samples, rows), windows)
            parts.append((part.logits, rows[part.record], part.start))
    logits, record, start = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(record, kind="stable")
    windows = WindowLogits(logits[order], record[order], start[order])
    probabilities = as_probabilities(windows.mean(len(ids)), config.exclusive)
    decisions = decide(probabilities, _thresholds(config))
    return Predictions(samples.ids, config, probabilities, decisions, windows, fs)


def classifier_of(loaded: LoadedModel) -> ClassifierConfig:
    """A model's classifier. Raises InputError if it has none."""
    if loaded.config.classifier is None:
        raise InputError(
            f"{loaded.folder}: this model has no classifier, it only embeds; anyjepa evaluate ... --save-classifier "
            "trains and keeps one"
        )
    return loaded.config.classifier


def _thresholds(config: ClassifierConfig) -> np.ndarray | None:
    if config.exclusive:
        return None
    if config.thresholds is None:
        warnings.warn(f"the classifier has no thresholds of its own; classes apply from {UNCHOSEN}", DataWarning, 4)
        return np.full(len(config.classes), UNCHOSEN)
    return np.array(config.thresholds)
