"""What the report draws of a recipe's masks: on training records, and how often each token is used."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import modality_of
from anyjepa.masks.base import Masks, coverage, members
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.tubes import TubesConfig
from anyjepa.nn.tokens import token_grid
from anyjepa.randomness import generator
from anyjepa.runs.folder import Run
from anyjepa.runs.thumbnails import thumbnails
from anyjepa.training.draws import step_masks
from anyjepa.writing import replacing

IMAGES = 4  # drawn; of videos one
COUNTED = 2000  # masks at least whose tokens are counted


def keep_masks(run: Run, dataset: Dataset) -> None:
    """Write `artifacts/masks.npz` from the masks of the first steps; nothing for an objective without masks."""
    recipe, masks = run.recipe, getattr(run.recipe.objective, "masks", None)
    drawing = modality_of(recipe.data).drawing
    if masks is None or drawing is None:
        return
    grid = token_grid(recipe.data.size, recipe.objective.encoder.patch)
    counted = isinstance(masks, BlocksConfig | TubesConfig)
    steps = range(ceil(COUNTED / recipe.training.batch_size) if counted else 1)
    batches = [step_masks(masks, grid, recipe.training, step) for step in steps]
    many = min(IMAGES if len(grid) == 2 else 1, len(dataset), recipe.training.batch_size)
    rows = np.linspace(0, len(dataset) - 1, many).astype(int).tolist()
    x, _ = dataset.crops(rows, [generator(recipe.training.seed, "crop", place) for place in range(many)])
    first = [group.rows(slice(many)) for group in batches[0]]
    arrays: dict[str, Any] = {"kind": drawing}
    if len(grid) == 1:
        arrays |= _on_signal(dataset, x[0], first[0]) | {"patch": recipe.objective.encoder.patch[0]}
    else:
        arrays |= _on_pictures(dataset, x, first, grid)
    if counted:
        arrays |= _counted(batches, grid)
    with replacing(run.artifacts / "masks.npz") as file:
        np.savez_compressed(file, **arrays)


def _on_signal(dataset: Dataset, signal: np.ndarray, group: Masks) -> dict[str, Any]:
    """A signal (C, T) in the unit it was recorded in, and its tokens' numbers."""
    preprocessing = dataset.preprocessing
    axes = {} if preprocessing.rate is None else {"fs": preprocessing.rate}
    axes |= {"leads": np.array(names)} if (names := preprocessing.channel_names) else {}
    return axes | {
        "signal": preprocessing.restore(signal, dataset.source[0]),
        "context": group.context[0].numpy(),
        "targets": group.targets[0].flatten().numpy(),
    }


def _on_pictures(dataset: Dataset, x: np.ndarray, groups: Sequence[Masks], grid: tuple[int, ...]) -> dict[str, Any]:
    """x: (n, C, H, W) or (n, C, T, H, W) -> pictures (n, T, h, w, C), of every group context (G, n, *grid) and targets
    (G, n, M, *grid), bool."""
    tokens, frames = int(np.prod(grid)), x if len(grid) == 3 else x[:, :, None]
    pixels = thumbnails(frames.swapaxes(1, 2).reshape(-1, *frames.shape[1:2], *frames.shape[3:]), dataset.preprocessing)
    context = [members(group.context, group.context_valid, tokens).bool().numpy() for group in groups]
    targets = [members(group.targets, group.targets_valid, tokens).bool().numpy() for group in groups]
    place = _place(grid)
    return {
        "pictures": pixels.reshape(len(x), -1, *pixels.shape[1:]),
        "context": np.stack(context).reshape(len(groups), len(x), *place),
        "targets": np.stack(targets).reshape(len(groups), len(x), -1, *place),
    }


def _counted(batches: Sequence[Sequence[Masks]], grid: tuple[int, ...]) -> dict[str, Any]:
    """Shares of masks in which a token is context, or in any target block: (G, *grid), and of how many masks."""
    found = [coverage(groups, int(np.prod(grid))) for groups in zip(*batches, strict=True)]
    place = _place(grid)
    return {
        "often_context": np.stack([one.context.numpy() for one in found]).reshape(-1, *place),
        "often_target": np.stack([one.hidden.numpy() for one in found]).reshape(-1, *place),
        "counted": sum(len(groups[0].context) for groups in batches),
    }


def _place(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens of time, rows and columns; an image is one moment."""
    return grid if len(grid) == 3 else (1, *grid)
