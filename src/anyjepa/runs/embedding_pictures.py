"""Save data for the report's figures of embeddings: a map, nearest neighbours, and attention maps of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable, join
from anyjepa.data.modalities import modality_of
from anyjepa.data.samples import SelectedSamples
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.nearest import nearest
from anyjepa.nn.attended import attended
from anyjepa.nn.vit import ViT
from anyjepa.randomness import generator
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.runs.sample_pictures import pictures
from anyjepa.runs.thumbnails import at_places, thumbnails
from anyjepa.training.precision import autocast
from anyjepa.writing import replacing

MOST = 2000  # largest number of embedded records
QUERIES, NEIGHBOURS = 6, 6
POINTS = 128  # points of a drawn series


def keep_embedding(run: Run, model: Model, samples: Dataset, table: LabelTable, config: EvaluationConfig) -> None:
    """Write `artifacts/embedding.npz`, and for images, video and series `artifacts/neighbours.npz`."""
    joined = join(table, samples.ids)
    # A random choice, because even steps could miss classes in files where classes take turns.
    some = np.sort(generator(0, "pictures", 1).permutation(len(joined.index))[:MOST])
    rows = np.asarray(joined.index)[some]
    with autocast(model.device, config.precision):
        features = mean_features(model.encoder, SelectedSamples(samples, rows), config.windows)
    names, values = np.array([*joined.table.classes, "none"]), joined.table.values[some]
    labels = names[np.where(values.any(1), values.argmax(1), len(names) - 1)]
    split = np.array(joined.table.split)[some] if joined.table.split else np.full(len(some), "all")
    kind = modality_of(model.preprocessing).drawing
    trained = np.flatnonzero(split == "train") if joined.table.split else np.arange(len(some))
    tested = np.flatnonzero(split == "test") if joined.table.split else np.arange(len(some))
    arrays: dict[str, Any] = {"features": features, "labels": labels, "split": split}
    arrays["ids"] = np.array([samples.ids[row] for row in rows])
    if kind is not None and len(tested):
        arrays |= pictures(kind, samples, rows, tested, model.preprocessing)
    with replacing(run.artifacts / "embedding.npz") as file:
        np.savez_compressed(file, **arrays)
    if kind not in ("images", "video", "series") or not len(tested) or len(trained) <= NEIGHBOURS:
        return
    chosen = generator(0, "pictures", 0).choice(tested, min(QUERIES, len(tested)), replace=False)
    near, similarity = nearest(features, chosen, trained, NEIGHBOURS)
    shown = np.column_stack([chosen, near])  # (Q, 1 + K)
    drawn = _drawn(kind, [samples[i] for i in rows[shown].flat], model.preprocessing)
    arrays = {
        "kind": kind,
        "records": drawn.reshape(*shown.shape, *drawn.shape[1:]),
        "labels": labels[shown],
        "similarity": similarity,
        "among": f"{len(trained)} {'training ' if joined.table.split else ''}{samples.what[0]}",
    }
    if kind == "images" and isinstance(model.encoder, ViT):
        device = next(model.encoder.parameters()).device
        x = torch.as_tensor(np.stack([samples[i] for i in rows[chosen]]), dtype=torch.float32).to(device)
        arrays["attention"] = attended(model.encoder, x).reshape(len(x), *model.encoder.grid).cpu().numpy()
    with replacing(run.artifacts / "neighbours.npz") as file:
        np.savez_compressed(file, **arrays)


def _drawn(kind: str, records: list[np.ndarray], preprocessing: Any) -> np.ndarray:
    """Pictures (n, h, w, C) uint8 of images and videos, or standardised series (n, C, points)."""
    if kind == "series":
        return np.stack([at_places(record, POINTS) for record in records])
    return thumbnails(np.stack([_still(record) if kind == "video" else record for record in records]), preprocessing)


def _still(video: np.ndarray) -> np.ndarray:
    """Middle frame (C, H, W) of a video (C, T, H, W); if it is grey, first, middle and last frame as colours."""
    last = video.shape[1] - 1
    return video[0, [0, last // 2, last]] if len(video) == 1 else video[:, last // 2]
