"""Convert the image processing of published encoders to preprocessing of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import fmean

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from anyjepa.config import Config, validated
from anyjepa.data.files import read_json
from anyjepa.data.images.preprocessing import CHANNELS, ImagePreprocessing
from anyjepa.errors import InputError
from anyjepa.weights.meta_jepa import MEAN, STD
from anyjepa.weights.source import PROCESSOR, Source


class Processor(Config):
    """Keys of preprocessor_config.json, as far as images can be prepared in the same way here."""

    model_config = ConfigDict(extra="ignore")

    image_mean: tuple[float, ...] | None = None
    image_std: tuple[PositiveFloat, ...] | None = None
    do_center_crop: bool = False
    size: dict[str, PositiveInt] | PositiveInt | None = None
    crop_size: dict[str, PositiveInt] | PositiveInt | None = None
    resample: int = 2


class TimmConfig(Config):
    """Keys of pretrained_cfg in config.json of timm."""

    model_config = ConfigDict(extra="ignore")

    mean: tuple[float, ...] = MEAN
    std: tuple[PositiveFloat, ...] = STD
    crop_pct: float = Field(default=0.875, gt=0, le=1)


@dataclass(frozen=True)
class Look:
    """Settings for preparing images. note: how the published processing differs, if it does."""

    mean: Sequence[float]
    std: Sequence[float]
    centre: float = 1.0
    note: str = ""


def look_of_timm(source: Source) -> Look:
    """Read the settings from config.json of timm; without it, use those of ImageNet."""
    where = f"{source.where}/config.json: pretrained_cfg"
    config = validated(TimmConfig, source.config.get("pretrained_cfg", {}), where)
    return Look(config.mean, config.std, config.crop_pct)


def look_of_folder(folder: Path, usual: Sequence[float] | None) -> Look:
    """Read the settings from preprocessor_config.json, or use published constants. usual: mean and deviation."""
    mean, std = (usual, usual) if usual else (MEAN, STD)
    if not (folder / PROCESSOR).is_file():
        return Look(mean, std)
    processor = validated(Processor, read_json(folder / PROCESSOR), f"{folder / PROCESSOR}")
    whole, part = (_shortest(size) for size in (processor.size, processor.crop_size))
    cropped = processor.do_center_crop and whole is not None and part is not None and part < whole
    note = f"The published processing resizes with another filter (resample {processor.resample}) than bilinear."
    return Look(
        processor.image_mean or mean,
        processor.image_std or std,
        part / whole if cropped and whole and part else 1.0,
        "" if processor.resample == 2 else note,
    )


def preprocessing_of(where: str, look: Look, channels: int, size: tuple[int, ...]) -> dict[str, object]:
    colours = next((name for name, number in CHANNELS.items() if number == channels), None)
    if colours is None or len(set(size)) > 1 or not prod(size):
        raise InputError(
            f"{where}: takes {channels} channels of {' x '.join(map(str, size))} pixels; images are squares of 1 or 3"
        )
    mean, std = (
        (fmean(values),) if channels == 1 and len(values) == 3 else values  # grey: of the three colours
        for values in (look.mean, look.std)
    )
    raw = {"side": size[0], "colours": colours, "centre": look.centre, "mean": mean, "std": std}
    return validated(ImagePreprocessing, raw, where).model_dump(mode="json")


def _shortest(size: dict[str, int] | int | None) -> int | None:
    return size if size is None or isinstance(size, int) else min(size.values(), default=None)
