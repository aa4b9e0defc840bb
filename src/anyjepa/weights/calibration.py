"""Calibration of a classifier on validation records, for prediction sets and the detection of unusual records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anyjepa.errors import InputError
from anyjepa.weights.model import ClassifierConfig
from anyjepa.weights.tensors import check_digest, dump_tensors, read_tensors


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores and distances of validation records, sorted and without names, so that no record can be identified.

    scores: for each answer, one minus its probability for the validation records for which it is true, float64. Answers
    are the classes if these are exclusive, and otherwise no and yes to each class in turn. centre
    (D,) and whitening (D, E) float64: of the embeddings of training records. distances: of validation records from
    the centre (`evaluation.novelty`), float64.
    """

    scores: tuple[np.ndarray, ...]
    centre: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray

    def dump(self) -> bytes:
        """The bytes of a safetensors file."""
        arrays = {
            "scores": np.concatenate(self.scores),
            "counts": np.array([len(scores) for scores in self.scores]),
            "centre": self.centre,
            "whitening": self.whitening,
            "distances": self.distances,
        }
        return dump_tensors({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, {})


def read_calibration(path: Path, classifier: ClassifierConfig | None, dim: int) -> Calibration | None:
    """Read a calibration file; None if there is none. Raises InputError if it is damaged or of another classifier."""
    if not path.exists():
        return None
    if classifier is None:
        raise InputError(f"{path}: belongs to a classifier, but this model has none; remove the file")
    tensors, metadata = read_tensors(path)
    check_digest(path, tensors, metadata)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    if problem := _problem(arrays, len(classifier.classes) * (1 if classifier.exclusive else 2), dim):
        raise InputError(f"{path}: {problem}; save the classifier again")
    scores = np.split(arrays["scores"], np.cumsum(arrays["counts"])[:-1])
    return Calibration(tuple(scores), arrays["centre"], arrays["whitening"], arrays["distances"])


def _problem(arrays: dict[str, np.ndarray], answers: int, dim: int) -> str:
    """Describe what is wrong with the arrays of a file; '' if nothing is."""
    axes = {"scores": 1, "counts": 1, "centre": 1, "whitening": 2, "distances": 1}
    for name in sorted({*axes, *arrays}):
        if name not in axes or name not in arrays:
            return f"array '{name}' is {'missing' if name in axes else 'unknown'}"
        kind = "i" if name == "counts" else "f"
        if arrays[name].ndim != axes[name] or arrays[name].dtype.kind != kind or not np.isfinite(arrays[name]).all():
            return f"array '{name}' has a wrong shape, type or value"
    counts, whitening = arrays["counts"], arrays["whitening"]
    if len(counts) != answers or (counts < 0).any() or counts.sum() != len(arrays["scores"]):
        return f"it does not have the scores of {answers} answers"
    if arrays["centre"].shape != (dim,) or whitening.shape[0] != dim:
        return f"its embeddings do not have width {dim}"
    return ""
