"""Save data for the report's figures of masks: masks on training records, and how often each token is used."""

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
from anyjepa.randomness import generator
from anyjepa.runs.folder import Run
from anyjepa.runs.thumbnails import thumbnails
from anyjepa.training.draws import step_masks
from anyjepa.writing import replacing

IMAGES = 4  # number of drawn images; one for videos
COUNTED = 2000  # smallest number of masks to count tokens in


def keep_masks(run: Run, dataset: Dataset) -> None:
    """Write `artifacts/masks.npz` from the masks of the first steps; nothing for an objective without masks."""
    recipe, masks = run.recipe, getattr(run.recipe.objective, "masks", None)
    drawing = modality_of(recipe.data).drawing
    if masks is None or drawing is None:
        return
    grid = recipe.grid
    counted = isinstance(masks, BlocksConfig | TubesConfig)
    steps = range(ceil(COUNTED / recipe.training.batch_size) if counted else 1)
    batches = [step_masks(masks, grid, recipe.training, step) for step in steps]
    many = min(IMAGES if drawing == "images" else 1, len(dataset), recipe.training.batch_size)
    rows = np.linspace(0, len(dataset) - 1, many).astype(int).tolist()
    x, _ = dataset.crops(rows, [generator(recipe.training.seed, "crop", place) for place in range(many)])
    first = [group.rows(slice(many)) for group in batches[0]]
    arrays: dict[str, Any] = {"kind": drawing}
    if drawing in ("ecg", "series"):
        arrays |= _on_signal(dataset, x[0], first[0], grid) | {"patch": recipe.objective.encoder.patch[0]}
    else:
        arrays |= _on_pictures(dataset, x, first, grid)
    if counted:
        arrays |= _counted(batches, grid)
    with replacing(run.artifacts / "masks.npz") as file:
        np.savez_compressed(file, **arrays)


def _on_signal(dataset: Dataset, signal: np.ndarray, group: Masks, grid: tuple[int, ...]) -> dict[str, Any]:
    """A signal (C, T) in its recorded unit, and the numbers of the tokens of time in context and targets."""
    preprocessing, channels = dataset.preprocessing, int(np.prod(grid[1:]))
    axes = {} if preprocessing.rate is None else {"fs": preprocessing.rate}
    axes |= {"leads": np.array(names)} if (names := preprocessing.channel_names) else {}
    return axes | {
        "signal": preprocessing.restore(signal, dataset.source[0]),
        "context": group.context[0].numpy() // channels,
        "targets": group.targets[0].flatten().numpy() // channels,
    }


def _on_pictures(dataset: Dataset, x: np.ndarray, groups: Sequence[Masks], grid: tuple[int, ...]) -> dict[str, Any]:
    """Pictures (n, T, h, w, C), and context (G, n, *grid) and targets (G, n, M, *grid) bool of every group of masks.

    x: (n, C, H, W) or (n, C, T, H, W).
    """
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
    """Shares of masks (G, *grid) in which a token is a context, or in any target block, and the number of masks."""
    shares = [coverage(groups, int(np.prod(grid))) for groups in zip(*batches, strict=True)]
    place = _place(grid)
    return {
        "often_context": np.stack([one.context.numpy() for one in shares]).reshape(-1, *place),
        "often_target": np.stack([one.hidden.numpy() for one in shares]).reshape(-1, *place),
        "counted": sum(len(groups[0].context) for groups in batches),
    }


def _place(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens along time, rows and columns. An image has one time step."""
    return grid if len(grid) == 3 else (1, *grid)
