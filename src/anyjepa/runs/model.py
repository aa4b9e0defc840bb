"""Use a trained encoder: raw records in, vectors out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa.data.modalities import prepare_arrays, read_preprocessing
from anyjepa.data.modality import Preprocessing
from anyjepa.data.records import raw_records
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import DataWarning, InputError, reason
from anyjepa.evaluation.features import mean_features, window_features
from anyjepa.evaluation.windows import BATCH, Windows, longer
from anyjepa.nn.conditional import ConditionalPredictor
from anyjepa.objectives.base import Weights
from anyjepa.runs.classifier import classifier_of, classify
from anyjepa.runs.explain import Explanation, check_passes, explain
from anyjepa.runs.folder import Run, find_run
from anyjepa.runs.predictions import Predictions
from anyjepa.runs.surprise import surprise_table
from anyjepa.terminal import as_html
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import LoadedModel, load_model, read_records, save_model

if TYPE_CHECKING:
    import pandas as pd


DAY_S = 86_400


class Model:
    """An encoder with the preprocessing that it was trained with."""

    def __init__(self, loaded: LoadedModel, device: str | torch.device | None = None):
        self.loaded = loaded
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.encoder = loaded.encoder.to(device)
        except (RuntimeError, AssertionError) as error:
            why = "there is no device of this name" if "device type at start" in str(error) else reason(error)
            raise InputError(f"device '{device}': cannot be used ({why}); pass cpu, cuda or cuda:1") from error
        self.head = None if loaded.head is None else loaded.head.to(device)
        self.preprocessing: Any = read_preprocessing(loaded.preprocessing, str(loaded.folder / "preprocessing.json"))
        _check_fit(loaded, self.preprocessing)

    def __repr__(self) -> str:
        made, network = self.preprocessing, self.encoder.config.kind
        inputs = f"{made.channels} x {' x '.join(map(str, made.size))}"
        return f"Model('{self.loaded.folder}', {network}, {made.kind} of {inputs} -> {self.dim})"

    def _repr_html_(self) -> str:
        """For notebooks: what the encoder is, what it takes and what it gives."""
        made = self.preprocessing
        values = {
            "encoder": f"{self.encoder.config.kind}, {sum(p.numel() for p in self.encoder.parameters()):,} parameters",
            "weights": self.loaded.weights,
            "input": f"{made.kind}, {made.channels} x {' x '.join(map(str, made.size))}",
            "embedding": f"{self.dim} values per record",
            "classifier": "no" if self.head is None else "yes",
        }
        return as_html(f"Model '{self.loaded.folder}'", values)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.encoder.dim

    @torch_defaults()
    def embed(
        self,
        raw: Any,
        *,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
    ) -> np.ndarray:
        """Compute one vector per record, (N, D) float32: the mean of its patch tokens.

        raw: one record, an array or list of records, or a `torch.utils.data.Dataset`. Images are (H, W, 3) uint8,
            videos (T, H, W, 3) uint8, series (channels, samples), ECGs (leads, samples), cells AnnData.
        fs, leads, unit: of ECGs: rate in Hz, names of the rows (default: those of the model), and unit (default: mV).

        Records longer than the model's input are read in half-overlapping windows. Raises InputError for records that
        do not fit.
        """
        return self.embed_samples(self.prepared(raw, fs=fs, leads=leads, unit=unit))

    @torch_defaults()
    def predict_classes(
        self,
        raw: Any,
        *,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
    ) -> Predictions:
        """Compute probabilities and decisions of the model's classifier; the arguments are those of `embed`.

        Raises InputError if the model has no classifier.
        """
        classifier_of(self.loaded)
        return classify(self.loaded, self.preprocessing, self.prepared(raw, fs=fs, leads=leads, unit=unit))

    @torch_defaults()
    def explain(
        self,
        raw: Any,
        *,
        tokens: int | None = None,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
    ) -> list[Explanation]:
        """Find the evidence for and against each class by hiding the parts of each record, one by one.

        tokens: patches per part along each axis; by default as few as give a full input at most 64 places per axis.

        The other arguments are those of `embed`. `anyjepa.plot.explanation` draws the result. Raises InputError if the
        model has no classifier.
        """
        classifier_of(self.loaded)
        samples = self.prepared(raw, fs=fs, leads=leads, unit=unit)
        check_passes(self.loaded, self.preprocessing, samples, tokens)
        return list(explain(self.loaded, self.preprocessing, samples, tokens))

    def prepared(
        self,
        raw: Any,
        *,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
    ) -> Samples:
        """Raw records as the encoder sees them. Raises InputError for one shorter than a token."""
        options = {"fs": fs, "leads": leads, "unit": unit}
        samples = prepare_arrays(self.preprocessing, raw_records(raw), options)
        patch = self.encoder.config.patch[0]
        for place, id in enumerate(samples.ids):
            if (length := samples[place].shape[1]) < patch:
                rate, unit = (fs, "s") if (fs := self.preprocessing.rate) else (1, "samples")
                raise InputError(f"record '{id}': {length / rate:g} {unit} long, one token is {patch / rate:g} {unit}")
        return samples

    @torch_defaults()
    def embed_samples(self, samples: Samples, batch: int = BATCH) -> np.ndarray:
        """The same of prepared records: (N, D) float32. batch: windows that are encoded together."""
        full, absolute = self.preprocessing.size[0], self.preprocessing.absolute
        long = longer(samples, full)
        vectors = np.empty((len(samples), self.dim), np.float32)
        for rows, length in ((np.flatnonzero(long), full), (np.flatnonzero(~long), None)):
            if len(rows):
                windows = Windows(length=length, absolute=absolute, batch=batch)
                vectors[rows] = mean_features(self.encoder, SelectedSamples(samples, rows), windows)
        return vectors

    @torch_defaults()
    def embed_windows(
        self, samples: Samples, windows: Windows, some: range | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One vector per window of prepared records: index of its record (W,), start in s (W,), and vectors (W, D).

        windows: see `windows`. some: only these of all windows. Raises InputError for records shorter than a window.
        """
        records, starts, vectors = window_features(self.encoder, samples, windows, some)
        return records, starts / self.preprocessing.rate, vectors

    def windows(self, window_s: float, stride_s: float | None = None, batch: int = BATCH) -> Windows:
        """Windows of some seconds. batch: windows that are encoded together.

        stride_s: from one start to the next, by default half a window; a last window ends with the record. Raises
        InputError for records without time, and for a length that the encoder does not read.
        """
        fs, config, full = self.preprocessing.rate, self.encoder.config, self.preprocessing.size[0]
        if fs is None:
            raise InputError("--window: is in seconds, but the records of this model have no sampling rate")
        length, stride = (None if s is None else round(min(s, DAY_S) * fs) for s in (window_s, stride_s))
        if not length or length < config.patch[0] or length % config.multiple or length > full:
            raise InputError(
                f"--window {window_s:g}: must be a multiple of a token, {config.patch[0] / fs:g} s, "
                f"up to {full / fs:g} s"
            )
        if stride is not None and stride_s is not None and (stride < 1 or stride_s > DAY_S):
            raise InputError(f"--stride {stride_s:g}: must be from one sample, {1 / fs:g} s, to one day, {DAY_S} s")
        return Windows(length=length, stride=stride, absolute=self.preprocessing.absolute, batch=batch)

    def save(self, folder: Path | str) -> Path:
        """Write the model as a folder that `load` reads, with the weights that were loaded, and return it.

        Raises InputError if the folder cannot be written or contains other files.
        """
        loaded = self.loaded
        modules = {name: getattr(loaded, name) for name in ("encoder", "predictor", "second", "head")}
        parts = nn.ModuleDict({name: module for name, module in modules.items() if module is not None})
        config = loaded.config.model_copy(update={"weights": loaded.weights})
        return save_model(
            folder,
            config,
            parts.state_dict(),
            loaded.preprocessing,
            records=loaded.records,
            calibration=loaded.calibration,
        )

    @torch_defaults()
    def surprise(
        self,
        raw: Any,
        horizon: int = 1,
        *,
        fs: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | float | None = None,
    ) -> pd.DataFrame:
        """How far each patch of raw records is from what a NEPA model expected; arguments as for `embed`.

        One row per patch with columns id, token, start_s and surprise: 1 - cosine of the patch's projection and its
        prediction from `horizon` patches before. Raises InputError for a model that does not predict the next patch.
        """
        return surprise_table(
            self.loaded, self.preprocessing, self.prepared(raw, fs=fs, leads=leads, unit=unit), horizon
        )

    @torch_defaults()
    @torch.inference_mode()
    def encode(self, x: Tensor) -> Tensor:
        """Inputs that are prepared already, (B, C, *samples) -> patch tokens (B, N, D), without prefix tokens."""
        return self.encoder.eval().features(x.to(next(self.encoder.parameters()).device, torch.float32))[1]


@torch_defaults()
def load(
    path_or_id: str | Path | Run, weights: Weights | None = None, device: str | torch.device | None = None
) -> Model:
    """Load a model from a run, a run folder, a model folder, a name of `anyjepa models` or a Hugging Face id.

    weights: teacher, average, student or target; by default the teacher, if there is one.
    device: where the model computes; by default the first GPU if there is one, else the CPU.
    """
    run = path_or_id if isinstance(path_or_id, Run) else find_run(Path(path_or_id))
    loaded = load_model(run.model if run else str(path_or_id), weights)
    if run and (records := read_records(run.folder)):
        loaded = replace(loaded, records=records)
    model = Model(loaded, device)
    if loaded.preprocessing_changed:
        file = loaded.folder / "preprocessing.json"
        changed = f"{file}: differs from what was saved with the weights; it is damaged or was edited"
        warnings.warn(DataWarning(changed), stacklevel=2)
    return model


def run_and_model(
    model: str | Path | Run | Model, weights: Weights | None, device: str | None = None
) -> tuple[Run | None, Model]:
    """The run of a run folder, None for any other model, and the model. device: where a model that is loaded computes.

    Raises InputError if a loaded model has other weights.
    """
    if isinstance(model, Model):
        if weights not in (None, own := model.loaded.weights):
            raise InputError(f"weights: the model was loaded with its {own} weights; pass weights='{weights}' to load")
        return None, model
    run = model if isinstance(model, Run) else find_run(Path(model))
    return run, load(run or str(model), weights, device)


def _check_fit(loaded: LoadedModel, preprocessing: Preprocessing) -> None:
    """Raise InputError unless the networks take what the preprocessing makes."""
    pairs: list[tuple[str, str, object, object]] = [
        ("encoder", "channels", loaded.encoder.channels, preprocessing.channels)
    ]
    if preprocessing.fixed_size:
        pairs.append(("encoder", "inputs of size", loaded.encoder.size, preprocessing.size))
    if loaded.config.other is not None:
        pairs.append(("second encoder", "inputs of size", loaded.config.other, preprocessing.other))
    if isinstance(loaded.predictor, ConditionalPredictor):
        width = loaded.predictor.config.condition_dim
        pairs.append(("predictor", "conditions of width", width, preprocessing.condition_dim))
    for network, what, expected, made in pairs:
        if expected != made:
            raise InputError(
                f"{loaded.folder}: the {network} takes {what} {_plain(expected)}, "
                f"its preprocessing makes {_plain(made)}"
            )


def _plain(size: object) -> str:
    return "none" if size is None else " x ".join(map(str, size)) if isinstance(size, tuple) else str(size)
