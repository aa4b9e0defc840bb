"""A trained encoder in use: raw recordings in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from anyjepa.config import validated
from anyjepa.data.ecg.arrays import from_arrays
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, OnError
from anyjepa.data.ecg.recording import Recording
from anyjepa.errors import InputError
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.samples import ArraySamples, Windows
from anyjepa.runs.classifier import Predictions, classifier_of, classify
from anyjepa.runs.folder import find_run
from anyjepa.weights.folder import LoadedModel, load_model


class Model:
    """An encoder with the preprocessing that it was trained with."""

    def __init__(self, loaded: LoadedModel):
        self.loaded = loaded
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.encoder = loaded.encoder.to(device)
        self.head = None if loaded.head is None else loaded.head.to(device)
        self.preprocessing = validated(
            EcgPreprocessing, loaded.preprocessing, str(loaded.folder / "preprocessing.json")
        )
        if loaded.encoder.channels != len(self.preprocessing.leads):
            raise InputError(
                f"{loaded.folder}: the encoder has {loaded.encoder.channels} channels, its preprocessing "
                f"{len(self.preprocessing.leads)} leads"
            )

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.encoder.dim

    def embed(
        self,
        raw: np.ndarray | Sequence[np.ndarray],
        *,
        fs: float,
        leads: Sequence[str] | None = None,
        unit: str | float = "mV",
    ) -> np.ndarray:
        """Raw ECGs to one vector each: (N, leads, samples), (leads, samples) or a list of those -> (N, D) float32.

        fs: Hz; leads: names of the rows, by default the model's own; unit: 'mV', 'uV', 'V' or mV per unit. Leads may
        come in any order. Records longer than the model's input are read in half-overlapping windows. Raises InputError
        for a missing lead, a wrong shape or a record shorter than one token.
        """
        return self.embed_recordings(from_arrays(raw, fs=fs, leads=leads or self.preprocessing.leads, unit=unit))

    def embed_recordings(self, recordings: Sequence[Recording]) -> np.ndarray:
        """Mean of patch tokens of each recording, (N, D) float32."""
        return self.embed_prepared([r.id for r in recordings], [self.check(recording) for recording in recordings])

    def embed_prepared(self, ids: Sequence[str], signals: Sequence[np.ndarray]) -> np.ndarray:
        """The same of what `check` made of recordings, (leads, samples) each. ids: for error messages."""
        long = np.array([signal.shape[1] > self.preprocessing.samples for signal in signals], bool)
        vectors = np.empty((len(signals), self.dim), np.float32)
        for rows, window in (
            (np.flatnonzero(long).tolist(), self.preprocessing.samples),
            (np.flatnonzero(~long).tolist(), None),
        ):
            if len(rows):
                samples = ArraySamples(tuple(ids[r] for r in rows), [signals[r] for r in rows])
                vectors[rows] = mean_features(
                    self.encoder, samples, Windows(length=window, absolute=self.preprocessing.absolute_time)
                )
        return vectors

    def predict_classes(
        self,
        raw: np.ndarray | Sequence[np.ndarray],
        *,
        fs: float,
        leads: Sequence[str] | None = None,
        unit: str | float = "mV",
    ) -> Predictions:
        """What the model's classifier says of raw ECGs, given as to `embed`: probabilities and decisions of N records.

        Raises InputError if the model has no classifier.
        """
        classifier_of(self.loaded)
        recordings = from_arrays(raw, fs=fs, leads=leads or self.preprocessing.leads, unit=unit)
        return classify(self, [r.id for r in recordings], [self.check(recording) for recording in recordings])

    def check(self, recording: Recording) -> np.ndarray:
        """The recording as the encoder sees it, (leads, samples) float32. InputError if it cannot be embedded."""
        signal = self.preprocessing.prepare(recording)
        patch = self.encoder.config.patch[0]
        if signal.shape[1] < patch:
            raise InputError(
                f"{recording.where}: {recording.duration_s:g} s long, one token is {patch / self.preprocessing.fs:g} s"
            )
        return signal

    @torch.inference_mode()
    def encode(self, x: Tensor) -> Tensor:
        """Inputs that are prepared already, (B, leads, samples) -> patch tokens (B, N, D), without prefix tokens."""
        return self.encoder.eval().features(x.to(self.encoder.project.weight.device))[1]

    def prepare(self, recordings: Sequence[Recording], on_error: OnError = "raise") -> EcgDataset:
        """Recordings as this model sees them, whole; on_error: one that cannot be prepared."""
        whole = self.preprocessing.model_copy(update={"samples": 1})
        return EcgDataset.from_recordings(recordings, whole, on_error=on_error)


def load(path_or_id: str | Path, weights: Literal["teacher", "student"] | None = None) -> Model:
    """A model by folder, by run folder or by Hugging Face id; the teacher's weights unless `weights` says otherwise."""
    run = find_run(Path(path_or_id))
    return Model(load_model(run.model if run else path_or_id, weights))
