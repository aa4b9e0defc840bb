"""A trained encoder in use: raw records in, vectors out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anyjepa.config import validated
from anyjepa.data.array_likes import as_array, as_records
from anyjepa.data.cells.dataset import CellDataset
from anyjepa.data.cells.files import WITHOUT_FILTERS, from_anndata
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.screen import Screen
from anyjepa.data.ecg.arrays import from_arrays
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, OnError
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.modalities import PREPROCESSING
from anyjepa.data.samples import ArraySamples, Samples, SelectedSamples
from anyjepa.errors import DataWarning, InputError, did_you_mean
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.windows import Windows, longer
from anyjepa.nn.conditional import ConditionalPredictor
from anyjepa.objectives.base import Weights
from anyjepa.runs.classifier import Predictions, classifier_of, classify
from anyjepa.runs.folder import find_run
from anyjepa.runs.surprise import surprise_table
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import LoadedModel, load_model

if TYPE_CHECKING:
    import pandas as pd


class Model:
    """An encoder with the preprocessing that it was trained with."""

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.encoder = loaded.encoder.to(device)
        self.head = None if loaded.head is None else loaded.head.to(device)
        self.preprocessing: Any = _preprocessing(loaded)
        if loaded.encoder.channels != (channels := self.preprocessing.channels):
            raise InputError(
                f"{loaded.folder}: the encoder has {loaded.encoder.channels} channels, its preprocessing {channels}"
            )

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.encoder.dim

    @torch_defaults()
    def embed(self, raw: np.ndarray | Sequence[np.ndarray], **how: Any) -> np.ndarray:
        """Raw records to one vector each, (N, D) float32: the mean of patch tokens.

        raw: one record, or an array or list of records, each as the model's preprocessing takes it (an image:
        (H, W, 3) uint8); how: what must be said of them, for ECGs see `EcgModel.prepared`. Records longer than the
        model's input are read in half-overlapping windows. Raises InputError for records that do not fit.
        """
        return self.embed_samples(self.prepared(raw, **how))

    @torch_defaults()
    def predict_classes(self, raw: np.ndarray | Sequence[np.ndarray], **how: Any) -> Predictions:
        """What the model's classifier says of raw records, given as to `embed`: probabilities and decisions.

        Raises InputError if the model has no classifier.
        """
        classifier_of(self.loaded)
        return classify(self.loaded, self.preprocessing, self.prepared(raw, **how))

    def prepared(self, raw: np.ndarray | Sequence[np.ndarray]) -> Samples:
        """Raw records as the encoder sees them."""
        records = as_records(raw, self.preprocessing.kind)
        if isinstance(records, np.ndarray):
            grey = self.preprocessing.kind in ("images", "video") and records.shape[-1:] not in ((1,), (3,))
            one = records.ndim == len(self.preprocessing.size) + (not grey)
            records = records[None] if one else records
        signals = [self.preprocessing.prepare(record) for record in records]
        return ArraySamples(tuple(map(str, range(len(signals)))), signals)

    @torch_defaults()
    def embed_samples(self, samples: Samples) -> np.ndarray:
        """The same of prepared records: (N, D) float32."""
        full, absolute = self.preprocessing.samples, self.preprocessing.absolute_time
        long = longer(samples, full)
        vectors = np.empty((len(samples), self.dim), np.float32)
        for rows, length in ((np.flatnonzero(long), full), (np.flatnonzero(~long), None)):
            if len(rows):
                windows = Windows(length=length, absolute=absolute)
                vectors[rows] = mean_features(self.encoder, SelectedSamples(samples, rows), windows)
        return vectors

    @torch_defaults()
    def surprise(self, raw: np.ndarray | Sequence[np.ndarray], horizon: int = 1, **how: Any) -> pd.DataFrame:
        """How far each patch of raw records, given as to `embed`, is from what a NEPA model expected: a row a patch.

        Columns id, token, start_s and surprise, 1 - cosine of the patch's projection and its prediction from
        `horizon` patches before. Raises InputError for a model that does not predict the next patch of a signal.
        """
        return surprise_table(self.loaded, self.preprocessing, self.prepared(raw, **how), horizon)

    @torch_defaults()
    @torch.inference_mode()
    def encode(self, x: Tensor) -> Tensor:
        """Inputs that are prepared already, (B, C, *samples) -> patch tokens (B, N, D), without prefix tokens."""
        return self.encoder.eval().features(x.to(next(self.encoder.parameters()).device, torch.float32))[1]


class EcgModel(Model):
    """An encoder of ECGs."""

    preprocessing: EcgPreprocessing

    def prepared(
        self,
        raw: np.ndarray | Sequence[np.ndarray],
        *,
        fs: float,
        leads: Sequence[str] | None = None,
        unit: str | float = "mV",
    ) -> Samples:
        """Raw ECGs: (N, leads, samples), (leads, samples) or a list of those.

        fs: Hz; leads: names of the rows, by default the model's own; unit: 'mV', 'uV', 'V' or mV per unit. Leads may
        come in any order. Raises InputError for a missing lead, a wrong shape or a record shorter than one token.
        """
        leads = self.preprocessing.leads if leads is None else leads
        return self._checked(from_arrays(raw, fs=fs, leads=leads, unit=unit))

    def embed_recordings(self, recordings: Sequence[Recording]) -> np.ndarray:
        """One vector a recording, (N, D) float32."""
        return self.embed_samples(self._checked(recordings))

    def _checked(self, recordings: Sequence[Recording]) -> Samples:
        return ArraySamples(tuple(r.id for r in recordings), [self.check(recording) for recording in recordings])

    def check(self, recording: Recording) -> np.ndarray:
        """The recording as the encoder sees it, (leads, samples) float32. InputError if it cannot be embedded."""
        signal = self.preprocessing.prepare(recording)
        patch = self.encoder.config.patch[0]
        if signal.shape[1] < patch:
            raise InputError(
                f"{recording.where}: {recording.duration_s:g} s long, one token is {patch / self.preprocessing.fs:g} s"
            )
        return signal

    def prepare(self, recordings: Sequence[Recording], on_error: OnError = "raise") -> EcgDataset:
        """Recordings as this model sees them, whole; on_error: one that cannot be prepared."""
        whole = self.preprocessing.model_copy(update={"samples": 1})
        return EcgDataset.from_recordings(recordings, whole, on_error=on_error)


class CellModel(Model):
    """An encoder of cells. Raises InputError if its parts do not fit each other."""

    preprocessing: CellPreprocessing

    def __init__(self, loaded: LoadedModel):
        super().__init__(loaded)
        (read,), (given,), width = self.encoder.size, self.preprocessing.size, self.preprocessing.encoding.width
        if read != given:
            raise InputError(f"{loaded.folder}: the encoder reads {read} genes, its preprocessing has {given}")
        other, proteins = loaded.config.other, len(self.preprocessing.proteins)
        if other is not None and other != (proteins,):
            told = f"the second encoder reads {other[0]} proteins, its preprocessing has {proteins}"
            raise InputError(f"{loaded.folder}: {told}")
        if isinstance(loaded.predictor, ConditionalPredictor) and loaded.predictor.config.condition_dim != width:
            told = loaded.predictor.config.condition_dim
            raise InputError(
                f"{loaded.folder}: the predictor reads conditions of width {told}, its encoding has {width}"
            )

    def prepared(self, raw: Any) -> Samples:
        """Cells: AnnData or a screen, whose genes are found by name, or log1p expression (N, G) in the model's order.

        Raises InputError for missing genes, and for log1p values where the model was trained on counts.
        """
        if isinstance(raw, Screen) or hasattr(raw, "var_names"):
            return self.dataset(raw if isinstance(raw, Screen) else from_anndata(raw, WITHOUT_FILTERS))
        cells = [self.preprocessing.prepare(cell) for cell in np.atleast_2d(as_array(raw, "cells"))]
        return ArraySamples(tuple(map(str, range(len(cells)))), cells)

    def dataset(self, screen: Screen) -> CellDataset:
        """All cells of a screen."""
        known = self.preprocessing.fit(screen)
        return CellDataset.of(known, np.arange(len(known)), self.preprocessing)


@torch_defaults()
def load(path_or_id: str | Path, weights: Weights | None = None) -> Model:
    """A model by folder, by run folder or by Hugging Face id; the teacher's weights unless `weights` says otherwise."""
    run = find_run(Path(path_or_id))
    loaded = load_model(run.model if run else path_or_id, weights)
    model = {"ecg": EcgModel, "cells": CellModel}.get(str(loaded.preprocessing.get("kind")), Model)(loaded)
    if loaded.preprocessing_changed:
        file = loaded.folder / "preprocessing.json"
        changed = f"{file}: differs from what was saved with the weights; it is damaged or was edited"
        warnings.warn(DataWarning(changed), stacklevel=2)
    return model


def _preprocessing(loaded: LoadedModel) -> Any:
    where, kind = str(loaded.folder / "preprocessing.json"), str(loaded.preprocessing.get("kind"))
    if kind not in PREPROCESSING:
        raise InputError(f"{where}: kind '{kind}' is not known{did_you_mean(kind, PREPROCESSING)}")
    return validated(PREPROCESSING[kind], loaded.preprocessing, where)
