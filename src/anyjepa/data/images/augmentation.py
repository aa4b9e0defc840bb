"""Random crops and flips of batches of images. Each image has its own random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import grid_sample

from anyjepa.config import Config, Share
from anyjepa.data.images.colours import RecolourConfig

TRIES = 10  # attempts to draw a shape that fits, as in torchvision
DRAWS = 2 * TRIES + 3

Area = Annotated[float, Field(gt=0, le=1)]


class CropConfig(Config):
    """A random box of an image, resized to the full input ("Inception crop", Szegedy et al. 2014, section 6)."""

    scale: tuple[Area, Area] = Field(
        default=(0.3, 1.0), description="share of the area of the image (I-JEPA: 0.3 to 1)"
    )
    ratio: tuple[PositiveFloat, PositiveFloat] = Field(default=(3 / 4, 4 / 3), description="width over height")
    side: PositiveInt | None = Field(
        default=None,
        description="of images: width and height of crops, if not data.side, for convolutional encoders; smaller ones "
        "train faster, and show objects as large as whole images do (Touvron et al. 2019)",
    )

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name}: {low:g} to {high:g} is not a range; put the smaller number first")
        return self


class AugmentationConfig(Config):
    """Augmentation of training images."""

    crop: CropConfig | None = Field(default=None, description="random resized crop; null: the whole image")
    flip: Share = Field(default=0.0, description="probability of a horizontal flip")
    recolour: RecolourConfig | None = Field(default=None, description="random changes of colour; null: no changes")


class Boxes(NamedTuple):
    """A box in each image, (B,) float, in pixels."""

    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    flip: np.ndarray  # (B,) bool


def draw(config: AugmentationConfig, sizes: np.ndarray, rngs: Sequence[np.random.Generator]) -> Boxes | None:
    """Draw a box in each image of `sizes` (B, 2: height, width); None if the config has neither crops nor flips.

    The first of ten shapes that fits is placed uniformly. If none fits, the box is the largest central one within
    `ratio`. Boxes are not rounded to whole pixels.
    """
    if config.crop is None and not config.flip:
        return None
    uniforms = np.stack([rng.random(DRAWS) for rng in rngs])
    height, width = sizes.astype(float).T
    flip = uniforms[:, -1] < config.flip
    if config.crop is None:
        return Boxes(np.zeros_like(height), np.zeros_like(width), height, width, flip)
    (least, most), (narrow, wide) = config.crop.scale, config.crop.ratio
    area = (height * width)[:, None] * (least + (most - least) * uniforms[:, :TRIES])
    ratio = narrow * (wide / narrow) ** uniforms[:, TRIES : 2 * TRIES]
    widths, heights = np.sqrt(area * ratio), np.sqrt(area / ratio)  # (B, tries)
    fits = (widths <= width[:, None]) & (heights <= height[:, None])
    rows, first = np.arange(len(sizes)), fits.argmax(1)
    some, whole = fits.any(1), np.clip(width / height, narrow, wide)
    w = np.where(some, widths[rows, first], np.minimum(width, height * whole))
    h = np.where(some, heights[rows, first], np.minimum(height, width / whole))
    down, across = np.where(some, uniforms[:, -3:-1].T, 0.5)
    return Boxes((height - h) * down, (width - w) * across, h, w, flip)


def cut(images: Tensor, boxes: Boxes, side: int) -> Tensor:
    """Cut boxes from images (B, C, H, W) float32 and resize them to (B, C, side, side).

    Interpolation is bilinear without antialiasing, so boxes must not be larger than `side`.
    """
    height, width = images.shape[2:]
    steps = (torch.arange(side) + 0.5) / side  # centres of the output pixels
    down = _middles(boxes.top, boxes.height, steps) * (2 / height) - 1  # -1 and 1 are the edges of the image
    across = _middles(boxes.left, boxes.width, steps) * (2 / width) - 1
    across = torch.where(torch.from_numpy(boxes.flip)[:, None], across.flip(1), across)
    grid = torch.stack([across[:, None].expand(-1, side, -1), down[:, :, None].expand(-1, -1, side)], -1)
    return grid_sample(images, grid, "bilinear", "border", align_corners=False)


def _middles(first: np.ndarray, extent: np.ndarray, steps: Tensor) -> Tensor:
    start, length = (torch.from_numpy(x).float()[:, None] for x in (first, extent))
    return start + length * steps  # (B, side)
