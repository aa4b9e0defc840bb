"""Prepare videos for an encoder: take every `stride`-th frame, cut the middle square, resize and standardise it."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import interpolate

from anyjepa.data.images.preprocessing import CHANNELS, Colours, Means, PixelPreprocessing, Stds, in_colours
from anyjepa.data.images.preprocessing import checked as checked_pixels
from anyjepa.data.video.video_set import VideoSet
from anyjepa.errors import InputError

checked = partial(checked_pixels, what="a video", axes="frames, height, width")
MEASURED = 500, 16  # most videos, and frames of each, that statistics are computed from


class VideoPreprocessing(PixelPreprocessing):
    """Everything needed to prepare new videos for a model as in its training."""

    kind: Literal["video"] = "video"
    frames: PositiveInt = Field(description="frames of a clip")
    stride: PositiveInt = Field(default=1, description="frames of the video from one frame of a clip to the next")

    @property
    def size(self) -> tuple[int, ...]:
        return self.frames, self.side, self.side

    @property
    def reach(self) -> int:
        """Number of video frames from the first to the last frame of a clip."""
        return (self.frames - 1) * self.stride + 1

    def prepare(self, raw: np.ndarray) -> np.ndarray:
        """Prepare a video, (T, H, W) or (T, H, W, 1 or 3) uint8, as (C, ceil(T / stride), side, side) float32.

        Raises InputError for other input, and for a video shorter than a clip.
        """
        video = checked(raw)
        if len(video) < self.reach:
            raise InputError(f"a video has {len(video)} frames; a clip needs {self.reach}")
        return self.prepare_frames(video[:: self.stride])

    def prepare_frames(self, video: np.ndarray) -> np.ndarray:
        """Prepare the middle square of every frame, (T, H, W, C) uint8 to (C, T, side, side) float32."""
        height, width = video.shape[1:3]
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        part = self.standardise(video[:, top : top + square, left : left + square])
        return resized(torch.from_numpy(part), self.side).numpy()


def resized(clip: Tensor, side: int) -> Tensor:
    """Resize (C, T, H, W) to (C, T, side, side): bilinear, with antialiasing when downscaling."""
    if clip.shape[2:] == (side, side):
        return clip
    return interpolate(clip, (side, side), mode="bilinear", antialias=True)


def fit_statistics(video_set: VideoSet, colours: Colours) -> tuple[Means, Stds]:
    """Compute the mean and standard deviation of each channel, for pixels from 0 to 1; pass only the training part.

    Uses at most 500 videos and 16 frames of each, evenly spread. Raises InputError if a channel is the same everywhere.
    """
    videos, frames = MEASURED
    lengths, sums = video_set.videos.lengths, np.zeros((3, CHANNELS[colours]))
    for row in _spread(len(video_set.ids), videos):
        pixels = in_colours(video_set.videos.read(row, _spread(int(lengths[row]), frames)), colours) / 255.0
        pixels = pixels.reshape(-1, CHANNELS[colours])
        sums += np.stack([np.full(pixels.shape[1], len(pixels)), pixels.sum(0), (pixels**2).sum(0)])
    mean = sums[1] / sums[0]
    std = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0))
    for channel in np.flatnonzero(std < 1e-4):
        raise InputError(f"statistics: channel {channel + 1} is the same in every pixel of every training video")
    return tuple(mean.tolist()), tuple(std.tolist())


def _spread(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
