"""Data for figures of the places of a record: where prediction is hard, and what the tokens there resemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import modality_of
from anyjepa.data.pair import Pair
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.genes import Groups
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch
from anyjepa.randomness import generator
from anyjepa.runs.folder import Run
from anyjepa.runs.thumbnails import thumbnails
from anyjepa.writing import replacing

SHOWN = {"ecg": 1, "series": 2, "images": 6, "video": 1}  # records
FRAMES = 8
DRAWS = 64  # of masks
PAIRS = 256  # of cells


def keep_places(run: Run, dataset: Dataset, objective: Objective) -> None:
    """Write `artifacts/places.npz` of some crops, see `place_arrays`; of cells `gene_errors`, of other data nothing."""
    made = dataset.preprocessing
    kind = modality_of(made).drawing
    if kind is None:
        if objective.pairs and isinstance(getattr(objective.student, "projection", None), Groups):
            with replacing(run.artifacts / "places.npz") as file:
                np.savez_compressed(file, **gene_errors(objective, dataset))
        return
    rows = np.linspace(0, len(dataset) - 1, min(SHOWN[kind], len(dataset))).astype(int).tolist()
    seed = run.recipe.training.seed
    x, starts = dataset.crops(rows, [generator(seed, "crop", place) for place in range(len(rows))])
    start = torch.as_tensor(starts, dtype=torch.float32) / objective.student.config.patch[0] if made.absolute else None
    encoder = next(iter(objective.encoders().values()))
    sources = [dataset.source[row] for row in rows]
    with replacing(run.artifacts / "places.npz") as file:
        np.savez_compressed(file, **place_arrays(objective, encoder, torch.as_tensor(x), start, made, sources))


@torch.no_grad()
def place_arrays(
    objective: Objective | None,
    encoder: Encoder,
    x: Tensor,
    start: Tensor | None,
    preprocessing: Any,
    sources: Sequence[str],
) -> dict[str, Any]:
    """Records x (n, C, *samples) to draw, with the colours of their tokens, and their errors if there is an objective.

    kind; patch, in samples along the first axis; signals (n, C, T) in their recorded unit, or pictures (n, F, h, w, C)
    uint8 and frames (F,), their numbers; of ECGs fs in Hz and leads; colours (n, *grid, 3) uint8 and explained, see
    `token_colours`; errors (n, *grid), see `place_errors`.
    """
    kind = modality_of(preprocessing).drawing
    device = next(encoder.parameters()).device
    x, start = x.to(device, torch.float32), None if start is None else start.to(device)
    grid = encoder.grid_of(x)
    was_training = encoder.training
    tokens = encoder.eval().features(x, start)[1]
    encoder.train(was_training)
    arrays: dict[str, Any] = {"kind": kind, "patch": encoder.config.patch[0]}
    if tokens.shape[1] == int(np.prod(grid)):  # a token for each place
        colours, explained = token_colours(tokens.float().cpu().numpy())
        arrays |= {"colours": colours.reshape(len(x), *grid, 3), "explained": explained}
        errors = None if objective is None else place_errors(objective, x, start)
        if errors is not None:
            arrays["errors"] = errors.reshape(len(x), *grid)
    values = x.cpu().numpy()
    if kind in ("ecg", "series"):
        arrays["signals"] = np.stack([preprocessing.restore(one, of) for one, of in zip(values, sources, strict=True)])
        if kind == "ecg":
            leads = np.array(preprocessing.channel_names)
            arrays |= {"fs": preprocessing.rate, "leads": leads, "unit": preprocessing.restored_unit}
        return arrays
    clips = values[:, :, None] if kind == "images" else values  # (n, C, T, H, W)
    frames = np.unique(np.linspace(0, clips.shape[2] - 1, FRAMES).astype(int))
    pictures = [thumbnails(clip[:, frames].swapaxes(0, 1), preprocessing) for clip in clips]
    return arrays | {"pictures": np.stack(pictures), "frames": frames}


@torch.no_grad()
def gene_errors(objective: Objective, dataset: Dataset) -> dict[str, Any]:
    """Mean error of each token over pairs of cells: kind, errors (N,), and genes (N,), its first and last gene."""
    rows = np.linspace(0, len(dataset) - 1, min(PAIRS, len(dataset))).astype(int).tolist()
    batch = batch_of_pairs(objective, dataset, rows)
    groups = objective.student.projection
    assert isinstance(groups, Groups)
    tokens, each = groups.tokens, groups.each
    total, count = _errors(objective, batch, len(rows), tokens)
    names = dataset.preprocessing.sample_names
    ends = [(first, min(first + each, len(names)) - 1) for first in range(0, tokens * each, each)]
    genes = [f"{names[first]} to {names[last]}" for first, last in ends]
    return {"kind": "genes", "errors": (total.sum(0) / count.sum(0)).numpy(), "genes": np.array(genes)}


def batch_of_pairs(objective: Objective, dataset: Dataset, rows: Sequence[int]) -> Batch:
    """A pair of each of these records, where the objective computes; the same in every call."""
    rngs = [[generator(0, stream, row) for row in rows] for stream in ("crop", "second crop")]
    x, pair = dataset.pairs(rows, rngs[0], rngs[1], 0)
    device = next(objective.parameters()).device
    tensors = (None if part is None else torch.as_tensor(part, device=device) for part in pair)
    return Batch.whole(torch.as_tensor(x, device=device), pair=Pair._make(tensors))


def _errors(objective: Objective, batch: Batch, samples: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the distances at each token of each sample, (samples, tokens) each."""
    total, count = torch.zeros(2, samples, tokens, dtype=torch.float64)
    was_training = objective.training
    examined = objective.eval().examine(batch)
    objective.train(was_training)
    if examined is not None:
        pairs = zip(examined.predicted.float(), examined.target.float(), strict=True)
        each = torch.stack([examined.distance(p[None], t[None]) for p, t in pairs]).double().cpu()
        index = examined.sample.cpu(), examined.position.cpu()
        total.index_put_(index, each, accumulate=True)
        count.index_put_(index, torch.ones_like(each), accumulate=True)
    return total, count


def place_errors(objective: Objective, x: Tensor, start: Tensor | None = None) -> np.ndarray | None:
    """Mean distance of prediction and target of each token over draws of masks, (n, N); NaN if it was never hidden.

    x: (n, C, *samples). Of several groups of masks, the first is used. Without masks, all predicted tokens count once.
    None for an objective that learns from pairs, or does not offer its predictions.
    """
    if objective.pairs:
        return None
    grid = objective.student.grid_of(x)
    total, count = torch.zeros(2, len(x), int(np.prod(grid)), dtype=torch.float64)
    for draw in range(DRAWS if objective.masks is not None else 1):
        masks = [] if objective.masks is None else objective.masks.draw(grid, len(x), generator(0, "errors", draw))
        batch = Batch.whole(x, [group.on(x.device) for group in masks], start)
        added = _errors(objective, batch, *total.shape)
        total, count = total + added[0], count + added[1]
    return (total / count).numpy() if count.any() else None


def token_colours(tokens: np.ndarray) -> tuple[np.ndarray, float]:
    """The first three principal components of all tokens (n, N, D) as red, green and blue, (n, N, 3) uint8.

    Also the share of the variance that they explain. Each component reaches from its 1st to its 99th percentile. Its
    sign is such that its largest value in size is positive.
    """
    rows = tokens.reshape(-1, tokens.shape[-1]).astype(float)
    left, values, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    z = (left * values)[:, :3]
    z = z * np.sign(z[np.abs(z).argmax(0), np.arange(z.shape[1])])
    low, high = np.percentile(z, [1, 99], axis=0)
    colours = np.full((len(rows), 3), 0.5)
    spread = high - low
    varies = spread > 1e-6 * max(float(spread.max()), 1e-12)
    colours[:, : z.shape[1]][:, varies] = ((z - low) / np.where(varies, spread, 1))[:, varies].clip(0, 1)
    total = float((values**2).sum())
    explained = float((values[:3] ** 2).sum()) / total if total else 0.0
    return (255 * colours).round().astype(np.uint8).reshape(*tokens.shape[:2], 3), explained
