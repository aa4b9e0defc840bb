"""Load the images of a recipe, and prepare them for the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from anyjepa.data.images.augmentation import AugmentationConfig
from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_set import ImageArrays, ImageSet
from anyjepa.data.images.preprocessing import (
    Colours,
    ImagePreprocessing,
    Kept,
    PixelDataConfig,
    checked,
    fit_statistics,
)
from anyjepa.data.images.reading import read_images
from anyjepa.data.images.simulator import ImageSimulatorConfig, simulate
from anyjepa.data.modality import each
from anyjepa.data.records import Records
from anyjepa.data.training_part import training_rows
from anyjepa.errors import InputError


class ImageDataConfig(PixelDataConfig):
    """Images for pretraining: those under a path, or else the simulated set."""

    kind: Literal["images"] = "images"
    simulator: ImageSimulatorConfig = Field(
        default=ImageSimulatorConfig(), description="the simulated data set, used without files"
    )
    colours: Colours = Field(default="rgb", description="rgb: three channels (grey is repeated); grey: one channel")
    centre: Kept = Field(default=1.0, description="side of the middle square that evaluation sees / shorter side")
    augmentation: AugmentationConfig = Field(default=AugmentationConfig(), description="of training images")

    @model_validator(mode="after")
    def _augmentation_fits(self) -> Self:
        if self.augmentation.recolour is not None and self.colours == "grey":
            raise ValueError("augmentation.recolour needs colours=rgb: grey images have no colours to change")
        crop = self.augmentation.crop
        if crop is not None and crop.side is not None and crop.side > self.side:
            raise ValueError(f"augmentation.crop.side must be at most side, which is {self.side}")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Pixels of a full input."""
        return self.side, self.side

    @property
    def crop_size(self) -> tuple[int, int]:
        crop = self.augmentation.crop
        return self.size if crop is None or crop.side is None else (crop.side, crop.side)


def training_data(config: ImageDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> ImageDataset:
    """Load the images that a recipe trains on. They determine mean and std unless the config fixes these.

    exclude: ids to leave out. Raises InputError.
    """
    return _training_set(config, find_images(config, paths), exclude)


def training_arrays(config: ImageDataConfig, records: Records, exclude: Sequence[str] = ()) -> ImageDataset:
    """Prepare images in memory for training: (height, width) or (height, width, 1 or 3) uint8 each, of any size."""
    images = each(records.raw, checked)
    return _training_set(config, ImageSet("array", records.ids, ImageArrays.of(images)), exclude)


def _training_set(config: ImageDataConfig, images: ImageSet, exclude: Sequence[str]) -> ImageDataset:
    images = images.rows(training_rows(images.name, images.ids, images.split, config.part, exclude))
    fitted = partial(fit_statistics, images, config.side, config.colours, config.centre)
    preprocessing = ImagePreprocessing(centre=config.centre, **config.pixels(fitted))
    return ImageDataset.of(images, preprocessing, config.augmentation)


def evaluation_data(
    preprocessing: ImagePreprocessing,
    paths: Sequence[Path],
    config: ImageDataConfig | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> ImageDataset:
    """Load all images with labels and split, prepared for a model. Raises InputError."""
    config = (config or ImageDataConfig()).model_copy(update={"on_error": on_error})
    return ImageDataset.of(find_images(config, paths), preprocessing)


def find_images(config: ImageDataConfig, paths: Sequence[Path]) -> ImageSet:
    """Read the images of the path, or simulate the embedded set if there is none."""
    if not paths:
        return simulate(config.simulator)
    if len(paths) > 1:
        raise InputError(f"pass one set of images as data, not {len(paths)}")
    return read_images(paths[0], config.on_error)
