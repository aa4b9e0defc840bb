"""anyjepa: joint-embedding predictive pretraining for ECG, images, video, series and cells.

import anyjepa
run = anyjepa.pretrain("ijepa-demo", images, groups=patients)  # an array, a list, AnnData, a PyTorch data set or paths
result = anyjepa.evaluate(run, images, labels=classes, groups=patients)
vectors = anyjepa.embed(run, images)  # the same of ECGs also takes fs=500, leads=["I", "II", ...], unit="mV"

`MaskSampler`, `Regulariser`, `DataConfig` and `Preprocessing` are bases for parts of your own (docs/own-parts.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anyjepa.data.dataset import ArrayDataset
    from anyjepa.data.ecg.recording import Recording
    from anyjepa.data.labels import LabelTable
    from anyjepa.data.modalities import add_modality
    from anyjepa.data.modality import DataConfig, Modality, Preprocessing
    from anyjepa.data.readers import Reader
    from anyjepa.data.series.record import Series
    from anyjepa.errors import DataWarning, InputError
    from anyjepa.masks.base import Masks, MaskSampler
    from anyjepa.objectives.regularisers import Regulariser
    from anyjepa.runs.cells.perturb import perturb
    from anyjepa.runs.compare import compare
    from anyjepa.runs.diagnose import diagnose
    from anyjepa.runs.embed import embed
    from anyjepa.runs.embedder import JepaEmbedder
    from anyjepa.runs.evaluate import evaluate
    from anyjepa.runs.fit import fit
    from anyjepa.runs.labelled import LabelFile
    from anyjepa.runs.model import Model, load
    from anyjepa.runs.pretrain import pretrain
    from anyjepa.runs.push import push
    from anyjepa.runs.results import results
    from anyjepa.runs.sklearn_classifier import JepaClassifier
    from anyjepa.runs.sweep import sweep

__all__ = [
    "ArrayDataset",
    "DataConfig",
    "DataWarning",
    "InputError",
    "JepaClassifier",
    "JepaEmbedder",
    "LabelFile",
    "LabelTable",
    "MaskSampler",
    "Masks",
    "Modality",
    "Model",
    "Preprocessing",
    "Reader",
    "Recording",
    "Regulariser",
    "Series",
    "add_modality",
    "compare",
    "diagnose",
    "embed",
    "evaluate",
    "fit",
    "load",
    "perturb",
    "pretrain",
    "push",
    "results",
    "sweep",
]

_HOMES = {
    "ArrayDataset": "anyjepa.data.dataset",
    "DataConfig": "anyjepa.data.modality",
    "DataWarning": "anyjepa.errors",
    "JepaClassifier": "anyjepa.runs.sklearn_classifier",
    "JepaEmbedder": "anyjepa.runs.embedder",
    "InputError": "anyjepa.errors",
    "LabelFile": "anyjepa.runs.labelled",
    "LabelTable": "anyjepa.data.labels",
    "MaskSampler": "anyjepa.masks.base",
    "Masks": "anyjepa.masks.base",
    "Modality": "anyjepa.data.modality",
    "Model": "anyjepa.runs.model",
    "Preprocessing": "anyjepa.data.modality",
    "Reader": "anyjepa.data.readers",
    "Recording": "anyjepa.data.ecg.recording",
    "Regulariser": "anyjepa.objectives.regularisers",
    "Series": "anyjepa.data.series.record",
    "add_modality": "anyjepa.data.modalities",
    "compare": "anyjepa.runs.compare",
    "diagnose": "anyjepa.runs.diagnose",
    "embed": "anyjepa.runs.embed",
    "evaluate": "anyjepa.runs.evaluate",
    "fit": "anyjepa.runs.fit",
    "load": "anyjepa.runs.model",
    "perturb": "anyjepa.runs.cells.perturb",
    "pretrain": "anyjepa.runs.pretrain",
    "push": "anyjepa.runs.push",
    "results": "anyjepa.runs.results",
    "sweep": "anyjepa.runs.sweep",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import anyjepa` stays light."""
    if name in ("plot", "progress"):
        return import_module(f"anyjepa.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'anyjepa' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
