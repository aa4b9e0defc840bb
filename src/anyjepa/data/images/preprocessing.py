"""Prepare images for an encoder: cut the middle square, resize it, convert its channels and standardise it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from anyjepa.data.array_likes import as_array
from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.modality import DataConfig, Preprocessing
from anyjepa.errors import InputError

Side = Annotated[int, Field(gt=0, le=4096)]
Colours = Literal["rgb", "grey"]
Kept = Annotated[float, Field(gt=0, le=1)]
Means = tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...]
Stds = tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...]

CHANNELS: dict[Colours, int] = {"rgb": 3, "grey": 1}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow
MOST_MEASURED = 5000  # most image files that statistics are computed from


class PixelDataConfig(DataConfig):
    """Settings that images and videos share. Subclasses add `colours`."""

    colours: Colours = "rgb"
    side: Side = Field(default=32, description="width and height that the encoder sees, pixels")
    mean: Means | None = Field(
        default=None, description="mean of each channel, pixels from 0 to 1; none: of the training part"
    )
    std: Stds | None = Field(
        default=None, description="standard deviation of each channel, pixels from 0 to 1; none: of the training part"
    )
    part: Literal["train", "all"] = Field(
        default="train", description="for a set with a published split: its training part, or all of it"
    )
    on_error: Literal["raise", "skip"] = Field(
        default="raise", description="what to do with a file that cannot be read"
    )

    @property
    def channels(self) -> int:
        return CHANNELS[self.colours]

    def pixels(self, fit: Callable[[], tuple[Means, Stds]]) -> dict[str, Any]:
        """The keys of `PixelPreprocessing`. fit: computes the constants of the training part, unless they are set."""
        mean, std = (self.mean, self.std) if self.mean and self.std else fit()
        return {"side": self.side, "colours": self.colours, "mean": self.mean or mean, "std": self.std or std}


class PixelPreprocessing(Preprocessing):
    """Preprocessing that images and videos share: size, colours and the constants of each channel."""

    side: Side = Field(default=32, description="width and height that the encoder sees, pixels")
    colours: Colours = Field(default="rgb", description="rgb: three channels (grey is repeated); grey: one channel")
    mean: Means = Field(description="mean of each channel over the training part, of pixels from 0 to 1")
    std: Stds = Field(description="standard deviation of each channel over the training part, of pixels from 0 to 1")

    @model_validator(mode="after")
    def _one_constant_a_channel(self) -> Self:
        if not self.channels == len(self.mean) == len(self.std):
            raise ValueError(f"{self.channels} channels, but {len(self.mean)} means and {len(self.std)} stds")
        return self

    @property
    def channels(self) -> int:
        return CHANNELS[self.colours]

    @property
    def size(self) -> tuple[int, ...]:
        """Size of a full input: rows and columns, preceded by frames for videos."""
        return self.side, self.side

    def is_single(self, raw: np.ndarray) -> bool:
        grey = raw.shape[-1:] not in ((1,), (3,))  # without an axis of channels
        return raw.ndim == len(self.size) + (not grey)

    def standardise(self, pixels: np.ndarray) -> np.ndarray:
        """Convert pixels (..., *S, 1 or 3) uint8 to standardised (..., C, *S) float32; S are the axes of `size`."""
        channels = in_colours(pixels, self.colours)
        scale = (1 / (255 * np.array(self.std))).astype(np.float32)
        shift = (-np.array(self.mean) / np.array(self.std)).astype(np.float32)
        first = channels.ndim - 1 - len(self.size)
        shape = channels.shape[:-1]
        prepared = np.empty((*shape[:first], self.channels, *shape[first:]), np.float32)
        for c, plane in enumerate(np.moveaxis(prepared, first, 0)):
            np.multiply(channels[..., c], scale[c], out=plane)
            plane += shift[c]
        return prepared


class ImagePreprocessing(PixelPreprocessing):
    """Everything needed to prepare new images for a model as in its training."""

    kind: Literal["images"] = "images"
    centre: Kept = Field(
        default=1.0, description="share of the shorter side that the central square keeps (224/256: 0.875)"
    )

    def prepare(self, raw: np.ndarray) -> np.ndarray:
        """Prepare an image, (H, W) or (H, W, 1 or 3) uint8, as (C, side, side) float32. Raises InputError."""
        image = checked(raw)
        if image.shape[:2] != self.size or self.centre < 1:
            height, width = image.shape[:2]
            square = min(height, width) * self.centre
            image = resized(image, (height - square) / 2, (width - square) / 2, square, square, self.side)
        return self.standardise(image[None])[0]


def checked(raw: np.ndarray, what: str = "an image", axes: str = "height, width") -> np.ndarray:
    """Convert an image to (H, W, C), or a video to (T, H, W, C), with C = 1 or 3. Raises InputError if it is not uint8.

    axes: names of the axes before the channels.
    """
    pixels, ndim = as_array(raw, what), axes.count(",") + 2
    if pixels.dtype != np.uint8:
        raise InputError(f"{what} has pixels of type {pixels.dtype}; they must be uint8, 0 to 255")
    pixels = pixels[..., None] if pixels.ndim == ndim - 1 else pixels
    if pixels.ndim != ndim or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise InputError(f"{what} has shape {np.shape(raw)}; it must be ({axes}) or ({axes}, 1 or 3)")
    return pixels


def in_colours(images: np.ndarray, colours: Colours) -> np.ndarray:
    """Convert images (..., 1 or 3), uint8 or float32, to these colours: grey is repeated, RGB becomes luma."""
    if images.shape[-1] == CHANNELS[colours]:
        return images
    if colours == "rgb":
        return np.broadcast_to(images, (*images.shape[:-1], 3))
    return images.astype(np.float32) @ LUMA[:, None]


def resized(image: np.ndarray, top: float, left: float, height: float, width: float, side: int) -> np.ndarray:
    """Resize a box of an image (H, W, C) uint8 to (side, side, C): bilinear, with antialiasing when downscaling."""
    from PIL import Image

    box = (left, top, min(left + width, image.shape[1]), min(top + height, image.shape[0]))
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box)).reshape(side, side, -1)


def fit_statistics(images: ImageSet, side: int, colours: Colours, centre: float = 1.0) -> tuple[Means, Stds]:
    """Compute the mean and standard deviation of each channel, for pixels from 0 to 1; pass only the training part.

    Images in memory are all used; of images in files at most 5,000, evenly spread and after preparation.
    Raises InputError if a channel is the same everywhere.
    """
    n = CHANNELS[colours]
    counts = np.zeros((n, 256))
    if isinstance(images.images, np.ndarray):
        pixels = images.images
        for part in np.array_split(pixels, len(pixels) // 4096 + 1):
            counts += _histograms(part, colours)
    else:
        plain = ImagePreprocessing(side=side, centre=centre, colours=colours, mean=(0,) * n, std=(1 / 255,) * n)
        for row in np.unique(np.linspace(0, len(images.ids) - 1, min(len(images.ids), MOST_MEASURED)).astype(int)):
            counts += _histograms(
                plain.prepare(images.images[row]).transpose(1, 2, 0).round().astype(np.uint8), colours
            )
    counts /= counts.sum(1, keepdims=True)
    levels = np.arange(256) / 255
    mean = counts @ levels
    std = np.sqrt(np.maximum(counts @ levels**2 - mean**2, 0))
    for channel in np.flatnonzero(std < 1e-4):
        raise InputError(f"statistics: channel {channel + 1} is the same in every pixel of every training image")
    return tuple(mean.tolist()), tuple(std.tolist())


def _histograms(pixels: np.ndarray, colours: Colours) -> np.ndarray:
    """Count the 256 values of each channel in pixels (..., 1 or 3) uint8, (C, 256)."""
    channels = in_colours(pixels, colours)
    levels = channels if channels.dtype == np.uint8 else channels.round().astype(np.uint8)
    return np.stack([np.bincount(levels[..., c].ravel(), minlength=256) for c in range(CHANNELS[colours])])
