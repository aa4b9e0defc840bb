"""anyjepa: joint-embedding predictive pretraining for ECG, images, video, series and cells.

import anyjepa
run = anyjepa.pretrain("ecg-jepa-demo")
model = anyjepa.load(run.folder)
vectors = model.embed(signals, fs=500, leads=["I", "II", ...], unit="mV")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anyjepa.errors import DataWarning, InputError
    from anyjepa.runs.embed import embed
    from anyjepa.runs.evaluate import evaluate
    from anyjepa.runs.fit import fit
    from anyjepa.runs.labelled import LabelFile
    from anyjepa.runs.model import Model, load
    from anyjepa.runs.pretrain import pretrain
    from anyjepa.runs.transformer import EmbeddingTransformer

__all__ = [
    "DataWarning",
    "EmbeddingTransformer",
    "InputError",
    "LabelFile",
    "Model",
    "embed",
    "evaluate",
    "fit",
    "load",
    "pretrain",
]

_HOMES = {
    "DataWarning": "anyjepa.errors",
    "EmbeddingTransformer": "anyjepa.runs.transformer",
    "InputError": "anyjepa.errors",
    "LabelFile": "anyjepa.runs.labelled",
    "Model": "anyjepa.runs.model",
    "embed": "anyjepa.runs.embed",
    "evaluate": "anyjepa.runs.evaluate",
    "fit": "anyjepa.runs.fit",
    "load": "anyjepa.runs.model",
    "pretrain": "anyjepa.runs.pretrain",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import anyjepa` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anyjepa' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
