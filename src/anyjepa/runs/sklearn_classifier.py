"""A trained encoder with a linear probe as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from anyjepa.errors import InputError
from anyjepa.evaluation.logistic import fit_logistic, probabilities
from anyjepa.evaluation.probes import standardised
from anyjepa.runs.embedder import JepaEmbedder, RecordEstimator


class JepaClassifier(ClassifierMixin, RecordEstimator):
    """Classify raw records of any modality by logistic regression on their standardised embeddings.

    This is the linear probe of `evaluate`. The parameters that are not listed are those of `JepaEmbedder`.

    strength: inverse L2 penalty, to be chosen with a grid search. It is scikit-learn's C, except that for two classes
        it is half of C, because each class has its own weights.
    balanced: whether to weight all classes equally.
    """

    def __init__(
        self,
        model: str | Path,
        strength: float = 0.01,
        balanced: bool = False,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
        device: str | None = None,
        remember: bool = True,
    ) -> None:
        self.model = model
        self.strength = strength
        self.balanced = balanced
        self.fs = fs
        self.leads = leads
        self.unit = unit
        self.device = device
        self.remember = remember

    def fit(self, x: Any, y: Any) -> Self:
        """x: records as `Model.embed` takes them, the first axis being the records. y: one class per record.

        Raises InputError for records that do not fit the model, for another number of labels, and for a single class.
        """
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"JepaClassifier: y has only one class, '{self.classes_[0]}'")
        shared = ("model", "fs", "leads", "unit", "device", "remember")
        self.embedder_ = JepaEmbedder(**{name: getattr(self, name) for name in shared}).fit(x)
        vectors = self.embedder_.transform(x)
        if len(vectors) != len(y):
            raise InputError(f"JepaClassifier: {len(vectors)} records, but {len(y)} labels")
        z, (self.mean_, self.std_) = standardised(vectors, np.arange(len(vectors)))
        values = np.eye(len(self.classes_))[numbers]
        self.weights_ = fit_logistic(z, values, self.strength, True, self.balanced)  # (D + 1, C)
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (N, C), in the order of `classes_`."""
        check_is_fitted(self)
        z = (self.embedder_.transform(x) - self.mean_) / self.std_
        return probabilities(z, self.weights_, True)

    def predict(self, x: Any) -> np.ndarray:
        """The most probable class of each record, (N,)."""
        best = self.predict_proba(x).argmax(1)
        return self.classes_[best]
