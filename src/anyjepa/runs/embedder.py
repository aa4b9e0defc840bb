"""A trained encoder as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from anyjepa.data.records import Records
from anyjepa.runs.model import load

MOST = 2**20  # vectors that are remembered
_REMEMBERED: dict[bytes, np.ndarray] = {}


class RecordEstimator(BaseEstimator):
    """Base of estimators of raw records, which the model checks itself."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.no_validation = True
        return tags


class JepaEmbedder(TransformerMixin, RecordEstimator):
    """Transform raw records of any modality to embeddings (N, D), for use before any scikit-learn estimator.

    model: a run, a model folder or a Hugging Face id.
    fs, leads, unit: of ECGs: rate in Hz, names of the rows (default: those of the model), and 'mV' (default), 'uV', 'V'
        or mV per unit.
    device: where the encoder computes; by default a GPU if there is one.
    remember: keep the vector of every record in memory, for all estimators of this process with the same model and
        settings, so that cross-validation embeds each record only once.
    """

    def __init__(
        self,
        model: str | Path,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
        device: str | None = None,
        remember: bool = True,
    ) -> None:
        self.model = model
        self.fs = fs
        self.leads = leads
        self.unit = unit
        self.device = device
        self.remember = remember

    def fit(self, x: Any, y: Any = None) -> Self:
        """Load the encoder. Nothing is fitted."""
        self.model_ = load(self.model, device=self.device)
        self.n_features_out_ = self.model_.dim
        return self

    def transform(self, x: Any) -> np.ndarray:
        """Records as `Model.embed` takes them, the first axis being the records -> (N, D) float32."""
        check_is_fitted(self)
        options = {"fs": self.fs, "leads": self.leads, "unit": self.unit}
        if not self.remember or not isinstance(x, (np.ndarray, list, tuple)) or not len(x):
            return self.model_.embed(x, **options)
        records = Records.of(x).raw
        keys = [self._key(record) for record in records]
        embedded = {key: _REMEMBERED[key] for key in keys if key in _REMEMBERED}
        if new := {key: record for key, record in zip(keys, records, strict=True) if key not in embedded}:
            vectors = self.model_.embed(_as_given(x, list(new.values())), **options)
            embedded |= dict(zip(new, vectors, strict=True))
            if len(_REMEMBERED) + len(new) > MOST:
                _REMEMBERED.clear()
            _REMEMBERED.update(embedded)
        return np.stack([embedded[key] for key in keys])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the (D,) outputs: 'z0', 'z1' ..., as in the tables of `anyjepa embed`."""
        check_is_fitted(self)
        return np.array([f"z{column}" for column in range(self.n_features_out_)], object)

    def _key(self, record: Any) -> bytes:
        """Digest of a record, of the weights and of the settings."""
        values = np.ascontiguousarray(record)
        loaded = self.model_.loaded
        tensors = (loaded.folder / "model.safetensors").stat()
        leads = None if self.leads is None else list(self.leads)
        settings = (str(loaded.folder), loaded.weights, tensors.st_mtime_ns, tensors.st_size, self.fs, leads, self.unit)
        digest = blake2b(repr((settings, values.shape, values.dtype)).encode(), digest_size=16)
        digest.update(values.data if values.dtype != object else repr(record).encode())
        return digest.digest()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")


def _as_given(x: Any, records: list[Any]) -> Any:
    """Some records of `x`: as one array where `x` is one."""
    return np.stack(records) if isinstance(x, np.ndarray) and x.dtype != object else records
