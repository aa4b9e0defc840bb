"""Data set of prepared images: whole images for evaluation, random crops and flips for pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.data.images.augmentation import AugmentationConfig, cut, draw
from anyjepa.data.images.colours import recolour
from anyjepa.data.images.image_set import Images, ImageSet, Masks, Tables
from anyjepa.data.images.preprocessing import ImagePreprocessing, checked, resized
from anyjepa.data.places import PlaceLabels
from anyjepa.errors import InputError

AHEAD = 64  # images that are prepared at once


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ImageDataset(Dataset):
    """`dataset[i]` is the whole image i, (C, side, side) float32, standardised, not augmented, a group of its own."""

    what: ClassVar[tuple[str, str]] = ("images", "images")

    images: np.ndarray | Images  # images[i] is (H, W, C) uint8
    preprocessing: ImagePreprocessing
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    masks: Masks | None = None
    split: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, images: ImageSet, preprocessing: ImagePreprocessing, augmentation: AugmentationConfig | None = None
    ) -> Self:
        """Create from a set of images. Raises InputError if it is empty."""
        if not images.ids:
            reason = next(iter(images.skipped.values()), "the set is empty")
            raise InputError(f"{images.name}: no usable image: {reason}")
        return cls(
            ids=images.ids,
            groups=images.ids,
            groups_known=False,
            source=(images.name,) * len(images.ids),
            preprocessing=preprocessing,
            tables=Tables(images),
            skipped=images.skipped,
            checksums=() if isinstance(images.images, np.ndarray) else images.images.checksums,
            images=images.images,
            augmentation=augmentation or AugmentationConfig(),
            masks=images.masks,
            split=images.split,
        )

    def __getitem__(self, index: int) -> np.ndarray:
        return self.preprocessing.prepare(self.images[index])

    def ahead(self, places: Sequence[int]) -> Iterator[np.ndarray]:
        """See `in_order`. Images in memory that have the size of the input are prepared many at once."""
        images, pre = self.images, self.preprocessing
        in_memory = isinstance(images, np.ndarray)
        if not in_memory or images.dtype != np.uint8 or images.shape[1:-1] != pre.size or pre.centre < 1:
            yield from map(self.__getitem__, places)
            return
        for start in range(0, len(places), AHEAD):
            yield from pre.standardise(images[list(places[start : start + AHEAD])])

    @property
    def longest(self) -> int:
        return self.preprocessing.side

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self), self.preprocessing.side)

    @property
    def place_tasks(self) -> tuple[str, ...]:
        return ("masks",) if self.masks else ()

    def places(self, task: str) -> PlaceLabels:
        """The class of each pixel; only for images that are prepared as a whole."""
        if self.masks is None or task not in self.place_tasks:
            return super().places(task)
        if self.preprocessing.centre < 1:
            raise InputError(
                f"evaluate: masks cover whole images, but this model sees {self.preprocessing.centre:g} of them"
            )
        rows, columns = (
            np.arange(self.preprocessing.side) * size // self.preprocessing.side
            for size in self.masks.numbers.shape[1:]
        )
        numbers = self.masks.numbers[:, rows[:, None], columns]
        return PlaceLabels(self.ids, self.masks.classes, list(numbers), split=self.split)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        at_once = isinstance(self.images, np.ndarray) and max(self.images.shape[1:3]) <= self._side
        x = self._at_once(indices, rngs) if at_once else self._one_by_one(indices, rngs)
        if self.augmentation.recolour is not None:
            recoloured = recolour(self.augmentation.recolour, torch.from_numpy(x), rngs)
            mean, std = (torch.tensor(v)[:, None, None] for v in (self.preprocessing.mean, self.preprocessing.std))
            x = recoloured.sub_(mean).div_(std).numpy()
        return x, np.zeros(len(indices), int)

    @property
    def _side(self) -> int:
        """Width and height of crops, in pixels."""
        crop = self.augmentation.crop
        return self.preprocessing.side if crop is None or crop.side is None else crop.side

    @property
    def _cropping(self) -> ImagePreprocessing:
        """Preprocessing of crops. Before recolouring, they are only scaled to 0 to 1; they are standardised later."""
        if self.augmentation.recolour is None:
            return self.preprocessing
        return self.preprocessing.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})

    def _at_once(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Crop images in memory that are not larger than the input, so that antialiasing is not needed."""
        assert isinstance(self.images, np.ndarray)
        pre, pixels = self._cropping, self.images[np.asarray(indices, int)]
        size = pixels.shape[1:3]
        boxes = draw(self.augmentation, np.tile(size, (len(pixels), 1)), rngs)
        if boxes is not None and self.augmentation.crop is not None:
            return cut(torch.from_numpy(pre.standardise(pixels)), boxes, self._side).numpy()
        whole = size == pre.size and pre.centre == 1
        x = pre.standardise(pixels) if whole else np.stack([pre.prepare(image) for image in pixels])
        if boxes is not None:
            x[boxes.flip] = x[boxes.flip, ..., ::-1]
        return x

    def _one_by_one(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> np.ndarray:
        return np.stack([self._crop(index, rng) for index, rng in zip(indices, rngs, strict=True)])

    def _crop(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Crop any image to (C, side, side), with antialiasing when downscaling."""
        pre, image = self._cropping, checked(self.images[index])
        boxes = draw(self.augmentation, np.array([image.shape[:2]]), [rng])
        if boxes is None or self.augmentation.crop is None:
            x = pre.prepare(image)
        else:
            top, left, height, width = (float(values[0]) for values in boxes[:4])
            part = resized(image, top, left, height, width, self._side)
            x = pre.standardise(part[None])[0]
        return x[..., ::-1] if boxes is not None and boxes.flip[0] else x
