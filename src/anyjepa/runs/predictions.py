"""What a classifier says of records, also as tables."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.classifier import WindowLogits
from anyjepa.evaluation.conformal import error_rate, prediction_sets, too_few
from anyjepa.evaluation.novelty import distances, typicality
from anyjepa.weights.calibration import Calibration
from anyjepa.weights.model import ClassifierConfig

if TYPE_CHECKING:
    import pandas as pd


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
        """Which answers cannot be ruled out, bool; each true answer is among them with a probability of `coverage`.

        (N, C) for exclusive classes, otherwise (N, C, 2): no and yes to each class. See `evaluation.conformal` for the
        condition. Issues a DataWarning for answers with too few validation records, which are never ruled out. Raises
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
        one. coverage: also the classes that cannot be ruled out (`sets`), or, for classes that are not exclusive, yes,
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


def warn_about_rare(config: ClassifierConfig, calibration: Calibration | None, coverage: float) -> None:
    """Issue a DataWarning for answers with too few validation records. Raises InputError without calibration."""
    if never := too_few(check_coverage(calibration, coverage).scores, config.exclusive, coverage):
        answers = [f"{answer} {name}" for name in config.classes for answer in ("no", "yes")]
        names = ", ".join((config.classes if config.exclusive else answers)[k] for k in never)
        text = f"coverage {coverage:g}: too few validation records to ever exclude {names}"
        warnings.warn(text, DataWarning, stacklevel=3)


def check_coverage(calibration: Calibration | None, coverage: float) -> Calibration:
    """The calibration for sets of this coverage. Raises InputError if there is none, or if coverage is not a share."""
    error_rate(coverage)
    if calibration is None:
        raise InputError(
            "coverage: this classifier was saved without calibration; save it again with anyjepa evaluate ... "
            "--save-classifier and evaluation.linear.refit=false"
        )
    return calibration
