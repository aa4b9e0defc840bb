"""A set of images as read: pixels, ids, and the split and labels of the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from anyjepa.data.labels import LabelTable


class Images(Protocol):
    """Images that are read on demand. Images in memory are one array (N, H, W, C)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> np.ndarray:
        """An image, (H, W, C) uint8, of any size."""
        ...

    def rows(self, index: np.ndarray) -> Images: ...

    @property
    def checksums(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """`Images` in memory that differ in size."""

    images: Sequence[np.ndarray]  # (H, W, C) uint8 each
    checksums: tuple[str, ...] = ()

    @staticmethod
    def of(images: Sequence[np.ndarray]) -> np.ndarray | ImageArrays:
        """One array if all are of one size."""
        return np.stack(images) if len({image.shape for image in images}) == 1 else ImageArrays(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.images[index]

    def rows(self, index: np.ndarray) -> ImageArrays:
        return ImageArrays([self.images[i] for i in index])


class Labels(NamedTuple):
    """One class per image."""

    classes: tuple[str, ...]
    numbers: np.ndarray  # (N,) int


class Masks(NamedTuple):
    """One class per pixel."""

    classes: tuple[str, ...]
    numbers: np.ndarray  # (N, H, W) int8


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images. `images[i]` is image i, (H, W, C) uint8, C 1 or 3."""

    name: str
    ids: tuple[str, ...]
    images: np.ndarray | Images
    split: tuple[str, ...] | None = None  # 'train', 'validation' or 'test' for each image
    labels: Mapping[str, Labels] = field(default_factory=dict)  # by task
    masks: Masks | None = None
    skipped: dict[str, str] = field(default_factory=dict)  # skipped file -> reason

    def rows(self, index: Sequence[int] | np.ndarray) -> ImageSet:
        """The images at `index`, in that order."""
        index = np.asarray(index, int)
        if np.array_equal(index, np.arange(len(self.ids))):
            return self
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            images=self.images[index] if isinstance(self.images, np.ndarray) else self.images.rows(index),
            split=None if self.split is None else tuple(self.split[i] for i in index),
            labels={task: Labels(classes, numbers[index]) for task, (classes, numbers) in self.labels.items()},
            masks=self.masks and Masks(self.masks.classes, self.masks.numbers[index]),
        )


class Tables(Mapping[str, LabelTable]):
    """Label tables, made on demand, because a million images of a thousand classes take gigabytes."""

    def __init__(self, of: ImageSet):
        self.of = of

    def __getitem__(self, task: str) -> LabelTable:
        classes, numbers = self.of.labels[task]
        values = np.zeros((len(numbers), len(classes)), np.float32)
        values[np.arange(len(numbers)), numbers] = 1
        return LabelTable(self.of.ids, classes, values, self.of.ids, exclusive=True, split=self.of.split)

    def __iter__(self) -> Iterator[str]:
        return iter(self.of.labels)

    def __len__(self) -> int:
        return len(self.of.labels)
