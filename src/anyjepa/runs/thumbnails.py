"""Convert prepared images and series to small pictures for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

SIDE = 96  # largest side, pixels


def thumbnails(x: np.ndarray, preprocessing: Any, side: int = SIDE) -> np.ndarray:
    """Convert prepared images x (N, C, H, W) to (N, h, w, C) uint8, at most `side` pixels wide and high.

    preprocessing: has the mean and std of pixels.
    """
    small = torch.from_numpy(np.ascontiguousarray(x))
    if max(x.shape[2:]) > side:
        small = interpolate(small, (side, side), mode="bilinear", antialias=True)
    pixels = small.permute(0, 2, 3, 1).numpy() * np.array(preprocessing.std) + np.array(preprocessing.mean)
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def at_places(series: np.ndarray, points: int) -> np.ndarray:
    """A series (C, T) at `points` even places, (C, points) float32."""
    places = np.linspace(0, series.shape[1] - 1, points)
    return np.stack([np.interp(places, np.arange(len(values)), values) for values in series]).astype(np.float32)
