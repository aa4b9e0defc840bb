"""Data set of prepared videos: whole videos for evaluation, random clips with crops and flips for pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import numpy as np
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.data.images.augmentation import AugmentationConfig, Boxes, cut, draw
from anyjepa.data.video.preprocessing import VideoPreprocessing, resized
from anyjepa.data.video.video_set import Videos, VideoSet
from anyjepa.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class VideoDataset(Dataset):
    """`dataset[i]` is the whole video i, (C, T, side, side) float32, every `stride`-th frame, not augmented."""

    what: ClassVar[tuple[str, str]] = ("videos", "groups")

    videos: Videos
    preprocessing: VideoPreprocessing
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    @classmethod
    def of(
        cls,
        video_set: VideoSet,
        preprocessing: VideoPreprocessing,
        augmentation: AugmentationConfig | None = None,
        short: Literal["skip", "raise"] = "skip",
    ) -> Self:
        """Create from a set of videos. Raises InputError if none is left.

        short: what to do with videos shorter than a clip, which are not padded.
        """
        skipped = dict(video_set.skipped)
        for row in np.flatnonzero(video_set.videos.lengths < preprocessing.reach):
            frames, id = video_set.videos.lengths[row], video_set.ids[row]
            skipped[id] = f"{video_set.name}: video '{id}' has {frames} frames; a clip needs {preprocessing.reach}"
            if short == "raise":
                raise InputError(skipped[id])
        kept = video_set.rows(np.flatnonzero(video_set.videos.lengths >= preprocessing.reach))
        if not kept.ids:
            raise InputError(f"no usable video: {next(iter(skipped.values()), 'the set is empty')}")
        return cls(
            ids=kept.ids,
            groups=kept.groups or kept.ids,
            groups_known=kept.groups is not None,
            source=(kept.name,) * len(kept.ids),
            preprocessing=preprocessing,
            tables=kept.tables,
            skipped=skipped,
            checksums=kept.videos.checksums,
            videos=kept.videos,
            augmentation=augmentation or AugmentationConfig(),
        )

    def __getitem__(self, index: int) -> np.ndarray:
        frames = np.arange(0, self.videos.lengths[index], self.preprocessing.stride)
        return self.preprocessing.prepare_frames(self.videos.read(index, frames))

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def lengths(self) -> np.ndarray:
        return -(-self.videos.lengths // self.preprocessing.stride)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        pre = self.preprocessing
        first = [int(r.integers(self.videos.lengths[i] - pre.reach + 1)) for i, r in zip(indices, rngs, strict=True)]
        clips = [
            self.videos.read(index, start + np.arange(pre.frames) * pre.stride)
            for index, start in zip(indices, first, strict=True)
        ]
        boxes = draw(self.augmentation, np.array([clip.shape[1:3] for clip in clips]), rngs)
        shapes = [clip.shape for clip in clips]
        prepared: dict[int, np.ndarray] = {}
        for shape in dict.fromkeys(shapes):  # clips of the same shape in one batch, which is faster
            rows = [row for row, other in enumerate(shapes) if other == shape]
            own = boxes and Boxes(*(values[rows] for values in boxes))
            prepared |= zip(rows, self._prepared(np.stack([clips[row] for row in rows]), own), strict=True)
        return np.stack([prepared[row] for row in range(len(clips))]), np.array(first) // pre.stride

    def _prepared(self, clips: np.ndarray, boxes: Boxes | None) -> np.ndarray:
        """Resize the central square or a box of clips (B, T, H, W, C) to (B, C, T, side, side), with antialiasing."""
        pre = self.preprocessing
        if boxes is None or self.augmentation.crop is None:
            whole = clips.shape[2:4] == (pre.side, pre.side)
            x = pre.standardise(clips) if whole else np.stack([pre.prepare_frames(clip) for clip in clips])
            if boxes is not None:
                x[boxes.flip] = x[boxes.flip, ..., ::-1]
            return x
        if max(clips.shape[2:4]) <= pre.side:  # no downscaling
            x = torch.from_numpy(pre.standardise(clips))
            return cut(x.flatten(1, 2), boxes, pre.side).unflatten(1, x.shape[1:3]).numpy()
        return np.stack([self._part(clip, Boxes(*(b[n] for b in boxes))) for n, clip in enumerate(clips)])

    def _part(self, clip: np.ndarray, box: Boxes) -> np.ndarray:
        """Cut a box, rounded to whole pixels, from a clip (T, H, W, C), and resize it to (C, T, side, side)."""
        top, left, height, width = (round(float(b)) for b in box[:4])
        part = clip[:, top : top + max(1, height), left : left + max(1, width)]
        x = resized(torch.from_numpy(self.preprocessing.standardise(part)), self.preprocessing.side).numpy()
        return x[..., ::-1] if box.flip else x
