"""Masks drawn on images and on frames of a video, and how often each token is used."""

from __future__ import annotations

import numpy as np

from anyjepa.report.drawing import draw
from anyjepa.report.markup import Html, figure, join
from anyjepa.report.mosaic import Cell, heat, mosaic, shown

_FRAMES, _BLOCKS, _IMAGES = 8, 6, 8  # largest numbers that are drawn


def on_pictures(arrays: dict[str, np.ndarray]) -> Html:
    """Draw masks on images or on a video, and how often each token is used.

    arrays: pictures (n, T, H, W, C) uint8; context (G, n, *grid) and targets (G, n, M, *grid) bool, where grid is
    (time, rows, columns). Optional, from `counted` masks: often_context and often_target (G, *grid), each token's
    share of the masks in which it is a context or a target.
    """
    pictures, context, targets = (arrays[name] for name in ("pictures", "context", "targets"))
    if pictures.dtype != np.uint8 or pictures.shape[-1] not in (1, 3) or targets.shape[3:] != context.shape[2:]:
        raise ValueError(
            f"pictures {pictures.dtype} {pictures.shape}, context {context.shape}, targets {targets.shape}"
        )
    drawn = _on_clip if pictures.shape[1] > 1 else _on_images
    parts = [drawn(pictures, context.astype(bool), targets.astype(bool))]
    if "often_context" in arrays:
        parts.append(_often(arrays["often_context"], arrays["often_target"], int(arrays["counted"])))
    return join(parts)


def _on_images(pictures: np.ndarray, context: np.ndarray, targets: np.ndarray) -> Html:
    """One row per image: the whole image, what the encoder sees, and each target block."""
    rows = [
        [picture, shown(picture, visible), *(shown(picture, block) for block in blocks[:_BLOCKS])]
        for picture, visible, blocks in zip(pictures[:_IMAGES, 0], context[0, :, 0], targets[0, :, :, 0], strict=False)
    ]
    titles = ["image", "context", *(f"target {n}" for n in range(1, _BLOCKS + 1))]
    cells = [
        [Cell(one, title if row is rows[0] else "") for one, title in zip(row, titles, strict=False)] for row in rows
    ]
    blocks = targets.shape[2]
    cut = f" The first {_BLOCKS} of {blocks} target blocks are shown." if blocks > _BLOCKS else ""
    tokens = context[0, 0].size
    text = (
        f"Each row is an image of {tokens} tokens. The encoder sees the context ({_mean(context[0])} tokens on "
        f"average). Each target block is predicted separately ({_mean(targets[0].max(1))} tokens in all). "
        f"Hidden tokens are grey.{cut}"
    )
    return figure(draw(f"Images with their masks. {text}", lambda: mosaic(cells)), text)


def _on_clip(pictures: np.ndarray, context: np.ndarray, targets: np.ndarray) -> Html:
    """Frames of the first clip, and below them the context and the targets of each group."""
    clip, times = pictures[0], context.shape[2]
    frames = np.unique(np.linspace(0, len(clip) - 1, min(len(clip), _FRAMES)).astype(int))
    rows, names = [[Cell(clip[f], f"frame {f + 1}") for f in frames]], ["clip"]
    for group, (visible, hidden) in enumerate(zip(context[:, 0], targets[:, 0].max(1), strict=True), 1):
        for name, tokens in (("context", visible), ("target", hidden)):
            rows.append([Cell(shown(clip[f], tokens[f * times // len(clip)])) for f in frames])
            names.append(f"{name} {group}" if len(context) > 1 else name)
    sizes = "; ".join(
        f"{f'group {n}: ' if len(context) > 1 else ''}{int(visible.sum())} context, {int(hidden.sum())} targets"
        for n, (visible, hidden) in enumerate(zip(context[:, 0], targets[:, 0].max(1), strict=True), 1)
    )
    groups = " Each group of targets is predicted from its own context." if len(context) > 1 else ""
    text = f"Frames of one clip of {context[0, 0].size} tokens ({sizes}). Hidden tokens are grey.{groups}"
    return figure(draw(f"Frames of a video with their masks. {text}", lambda: mosaic(rows, names)), text)


def _often(context: np.ndarray, target: np.ndarray, counted: int) -> Html:
    """Heat maps of the shares (G, time, rows, columns), averaged over time. The text gives shares that vary in time."""
    rows, names, changes = [], [], ""
    for group, pair in enumerate(zip(context, target, strict=True), 1):
        maps = [share.mean(0) for share in pair]
        titles = [f"{name} {_range(m)}" for name, m in zip(("context", "target"), maps, strict=True)]
        rows.append([Cell(heat(m), title) for m, title in zip(maps, titles, strict=True)])
        names.append(f"group {group}")
        by_time = pair[0].mean((1, 2))
        if np.ptp(by_time) > 0.01:
            changes += f" Context of {names[-1]} by time step: {' '.join(f'{share:.2f}' for share in by_time)}."
    text = (
        f"How often each token is a context and how often a target, in {counted} masks of this recipe. Full colour is "
        f"the larger number above the map, no colour is 0.{changes}"
    )
    return figure(draw(f"Use of tokens. {text}", lambda: mosaic(rows, names if len(rows) > 1 else (), side=150)), text)


def _range(share: np.ndarray) -> str:
    return f"{share.min():.2f} to {share.max():.2f}"


def _mean(tokens: np.ndarray) -> str:
    """Mean number of True values per sample of tokens (n, *grid)."""
    return f"{tokens.reshape(len(tokens), -1).sum(1).mean():.3g}"
