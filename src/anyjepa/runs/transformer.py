"""A trained encoder as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from anyjepa.runs.model import load


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Raw ECGs (N, leads, samples) to embeddings (N, D), to stand in front of any scikit-learn estimator.

    model: folder or Hugging Face id; fs: Hz; leads: names of the rows, the model's own if None; unit: 'mV', 'uV', 'V'
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
        """Nothing is learned; the encoder is loaded."""
        self.model_ = load(self.model)
        self.n_features_out_ = self.model_.dim
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """(N, leads, samples) -> (N, D) float32."""
        return self.model_.embed(x, fs=self.fs, leads=self.leads, unit=self.unit)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
