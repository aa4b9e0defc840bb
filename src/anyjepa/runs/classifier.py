"""Save the classifier that an evaluation trained, and classify records with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.classifier import WindowLogits, as_probabilities, record_logits, window_logits
from anyjepa.evaluation.conformal import error_rate, prediction_sets, too_few
from anyjepa.evaluation.decisions import UNCHOSEN, decide
from anyjepa.evaluation.novelty import distances, typicality
from anyjepa.evaluation.windows import BATCH, Windows, longer
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.calibration import Calibration
from anyjepa.weights.folder import LoadedModel, read_config, save_model
from anyjepa.weights.model import ClassifierConfig, TrainingRecords

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Predictions:
    """Probabilities and decisions of a classifier for N records."""

    ids: tuple[str, ...]
    config: ClassifierConfig
    probabilities: np.ndarray  # (N, C)
    decisions: np.ndarray  # (N, C) whether each class is predicted
    windows: WindowLogits  # of all windows (a single one if read jointly); probabilities are those of the mean logit
    fs: float | None  # sampling rate in Hz; None: records without time
    calibration: Calibration | None  # of the classifier; None: it was saved without

    @property
    def driven_by_s(self) -> np.ndarray | None:
        """Start in s of the window with the highest logit of each class, (N, C).

        None for records without time, and if all windows are read jointly.
        """
        return None if self.fs is None or self.config.joint else self.windows.strongest(len(self.ids)) / self.fs

    @property
    def typicality(self) -> np.ndarray | None:
        """Share of validation records whose embedding is at least as unusual, (N,); small for records of another kind.

        None for a classifier without calibration.
        """
        if self.calibration is None:
            return None
        vectors, of = self.windows.embeddings(len(self.ids)), self.calibration
        return typicality(distances(vectors, of.centre, of.whitening), of.distances)

    def sets(self, coverage: float) -> np.ndarray:
        """Which answers cannot be excluded, bool; each true answer is among them with a probability of `coverage`.

        (N, C) for exclusive classes, otherwise (N, C, 2): no and yes to each class. See `evaluation.conformal` for the
        condition. Issues a DataWarning for answers with too few validation records, which are never excluded. Raises
        InputError for a classifier without calibration.
        """
        warn_about_rare(self.config, self.calibration, coverage)
        return self.compute_sets(coverage)

    def compute_sets(self, coverage: float) -> np.ndarray:
        """`sets` without its warning."""
        scores, exclusive = check_coverage(self.calibration, coverage).scores, self.config.exclusive
        sets = prediction_sets(scores, self.probabilities, exclusive, coverage)
        return sets if exclusive else sets.reshape(len(sets), -1, 2)

    def rows(self, some: range) -> Predictions:
        """The predictions for some of the records."""
        all_windows = self.windows
        of = (all_windows.record >= some.start) & (all_windows.record < some.stop)
        windows = WindowLogits(
            all_windows.logits[of], all_windows.record[of] - some.start, all_windows.start[of], all_windows.vectors[of]
        )
        records = slice(some.start, some.stop)
        return replace(
            self,
            ids=self.ids[records],
            probabilities=self.probabilities[records],
            decisions=self.decisions[records],
            windows=windows,
        )

    def table(self, coverage: float | None = None, several: bool | None = None) -> pd.DataFrame:
        """One row per record: id, number of windows, probabilities, and the start in s of the strongest window.

        The latter two are given for each class. Exclusive classes have one column with the predicted class, others have
        one column per decision. several: whether to give the strongest windows, by default if a record has more than
        one. coverage: also the classes that cannot be excluded (`sets`), or, for classes that are not exclusive, yes,
        no or unsure. A classifier with calibration has `typicality`. Raises InputError.
        """
        import pandas as pd

        classes = self.config.classes
        sets = None if coverage is None else self.sets(coverage)
        columns: dict[str, object] = {"id": self.ids}
        if self.config.exclusive:
            columns["class"] = [classes[place] for place in self.decisions.argmax(1)]
            if sets is not None:
                columns["set"] = [" | ".join(np.array(classes, object)[row]) for row in sets]
        counts = np.bincount(self.windows.record, minlength=len(self.ids))
        driven = self.driven_by_s if several or (several is None and counts.max() > 1) else None
        for place, name in enumerate(classes):
            columns[f"{name}.probability"] = self.probabilities[:, place]
            if not self.config.exclusive:
                columns[f"{name}.decision"] = self.decisions[:, place]
                if sets is not None:
                    no, yes = sets[:, place].T
                    columns[f"{name}.answer"] = np.where(no == yes, "unsure", np.where(yes, "yes", "no"))
            if driven is not None:
                columns[f"{name}.window_s"] = driven[:, place]
        if (typical := self.typicality) is not None:
            columns["typicality"] = typical
        columns["windows"] = counts
        return pd.DataFrame(columns)

    def window_table(self) -> pd.DataFrame:
        """One row per window: id, start_s (without a rate: start, in samples), and the logit of each class.

        The logit of a record is the mean over its windows.
        """
        import pandas as pd

        windows = self.windows
        start = {"start": windows.start} if self.fs is None else {"start_s": windows.start / self.fs}
        columns = {"id": [self.ids[place] for place in windows.record]} | start
        logits = {f"{name}.logit": windows.logits[:, place] for place, name in enumerate(self.config.classes)}
        return pd.DataFrame(columns | logits)


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


def warn_about_rare(config: ClassifierConfig, calibration: Calibration | None, coverage: float) -> None:
    """Issue a DataWarning for answers with too few validation records. Raises InputError without calibration."""
    if never := too_few(check_coverage(calibration, coverage).scores, config.exclusive, coverage):
        answers = [f"{answer} {name}" for name in config.classes for answer in ("no", "yes")]
        names = ", ".join((config.classes if config.exclusive else answers)[k] for k in never)
        text = f"coverage {coverage:g}: too few validation records to ever exclude {names}"
        warnings.warn(text, DataWarning, stacklevel=3)


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


def check_coverage(calibration: Calibration | None, coverage: float) -> Calibration:
    """The calibration for sets of this coverage. Raises InputError if there is none, or if coverage is not a share."""
    error_rate(coverage)
    if calibration is None:
        raise InputError(
            "coverage: this classifier was saved without calibration; save it again with anyjepa evaluate ... "
            "--save-classifier and evaluation.linear.refit=false"
        )
    return calibration


def _thresholds(config: ClassifierConfig) -> np.ndarray | None:
    if config.exclusive:
        return None
    return np.array(config.thresholds or [UNCHOSEN] * len(config.classes))
