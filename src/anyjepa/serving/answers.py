"""Turn results into named arrays, and arrays into JSON or `.npz`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic_core import to_json

from anyjepa.runs.predictions import Predictions
from anyjepa.serving.bodies import NPZ


def embedding_arrays(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """The answer to an embedding request. vectors: (N, D) float32."""
    return {"embedding": vectors}


def prediction_arrays(predictions: Predictions, coverage: float | None) -> dict[str, np.ndarray]:
    """The predictions for N records. coverage: see `Predictions.sets`; None: no prediction sets."""
    classes = np.array(predictions.config.classes)
    arrays: dict[str, np.ndarray | None] = {
        "classes": classes,  # (C,)
        "probabilities": predictions.probabilities,  # (N, C)
        "decisions": predictions.decisions,  # (N, C)
        "sets": None if coverage is None else predictions.compute_sets(coverage),  # (N, C) or (N, C, 2)
        "typicality": predictions.typicality,  # (N,)
        "window_s": predictions.driven_by_s,  # (N, C)
        "windows": np.bincount(predictions.windows.record, minlength=len(predictions.ids)),  # (N,)
    }
    if predictions.config.exclusive:
        arrays["class"] = classes[predictions.decisions.argmax(1)]  # (N,)
    return {name: array for name, array in arrays.items() if array is not None}


def write_answer(arrays: Mapping[str, np.ndarray], remarks: Sequence[str], media: str) -> bytes:
    """The arrays and the remarks, named `warnings`, as a JSON object of lists or as an `.npz` file."""
    if media != NPZ:
        return to_json({**{name: array.tolist() for name, array in arrays.items()}, "warnings": list(remarks)})
    file = io.BytesIO()
    np.savez(file, **arrays, warnings=np.array(remarks, dtype=str))  # pyright: ignore[reportArgumentType]
    return file.getvalue()
