"""A trained encoder as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from anyjepa.runs.model import load


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Transform raw ECGs (N, leads, samples) to embeddings (N, D), for use before any scikit-learn estimator.

    model: folder or Hugging Face id. fs: Hz. leads: names of the rows; None: those of the model. unit: 'mV', 'uV', 'V'
    or mV per unit.
    """

    def __init__(
        self, model: str | Path, fs: float, leads: Sequence[str] | None = None, unit: str | float = "mV"
    ) -> None:
        self.model = model
        self.fs = fs
        self.leads = leads
        self.unit = unit

    def fit(self, x: Any, y: Any = None) -> Self:
        """Load the encoder. Nothing is fitted."""
        self.model_ = load(self.model)
        self.n_features_out_ = self.model_.dim
        return self

    def transform(self, x: Any) -> np.ndarray:
        """(N, leads, samples) -> (N, D) float32."""
        check_is_fitted(self)
        return self.model_.embed(x, fs=self.fs, leads=self.leads, unit=self.unit)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the (D,) outputs: 'z0', 'z1' ..., as in the tables of `anyjepa embed`."""
        check_is_fitted(self)
        return np.array([f"z{column}" for column in range(self.n_features_out_)], object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
