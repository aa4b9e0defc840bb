"""A set of videos as read: frames, ids, and the split and labels of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from anyjepa.data.labels import LabelTable


class Videos(Protocol):
    """Videos whose frames are read on demand."""

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each video, (N,)."""
        ...

    def read(self, index: int, frames: np.ndarray) -> np.ndarray:
        """Read the frames of one video with these ascending numbers (T,), as (T, H, W, C) uint8."""
        ...

    def rows(self, index: np.ndarray) -> Videos: ...

    @property
    def checksums(self) -> tuple[str, ...]:
        """Checksums of video files; empty for videos in memory."""
        ...


class VideoArrays:
    """Videos in memory, (T, H, W, C) uint8 each; sizes may differ."""

    checksums: tuple[str, ...] = ()

    def __init__(self, videos: Sequence[np.ndarray]):
        self.videos = videos
        self.lengths = np.array([len(video) for video in videos])

    def read(self, index: int, frames: np.ndarray) -> np.ndarray:
        return self.videos[index][frames]

    def rows(self, index: np.ndarray) -> VideoArrays:
        return VideoArrays([self.videos[i] for i in index])


@dataclass(frozen=True, eq=False)
class VideoSet:
    """N videos."""

    name: str
    ids: tuple[str, ...]
    videos: Videos
    groups: tuple[str, ...] | None = None  # groups that a split must not divide; None: unknown
    split: tuple[str, ...] | None = None  # 'train', 'validation' or 'test' for each video
    tables: Mapping[str, LabelTable] = field(default_factory=dict)  # by task, with one row per video
    skipped: dict[str, str] = field(default_factory=dict)  # skipped file -> reason

    def rows(self, index: Sequence[int] | np.ndarray) -> VideoSet:
        """The videos at `index`, in that order."""
        index = np.asarray(index, int)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            videos=self.videos.rows(index),
            groups=None if self.groups is None else tuple(self.groups[i] for i in index),
            split=None if self.split is None else tuple(self.split[i] for i in index),
            tables={task: table.rows(index) for task, table in self.tables.items()},
        )
