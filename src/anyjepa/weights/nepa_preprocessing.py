"""Preprocessing of an official NEPA model: constants come from its folder (images) or a data set (ECGs)."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field, PositiveFloat

from anyjepa.config import Config, validated
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.files import read_json
from anyjepa.data.images.preprocessing import CHANNELS, ImagePreprocessing
from anyjepa.errors import InputError, did_you_mean
from anyjepa.weights.nepa_config import OfficialConfig

PROCESSOR = "preprocessor_config.json"
FS = 500.0  # Hz, as in the ECG port; the folder does not state it
CENTRE = 0.875  # of the shorter side, in evaluation: 224 of 256 pixels


class Processor(Config):
    """Keys of preprocessor_config.json that determine the constants of an image model."""

    model_config = ConfigDict(extra="ignore")

    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...]
    image_std: tuple[PositiveFloat, ...]
    resample: int = 2
    size: dict[str, int] = Field(default_factory=dict)


def preprocessing_of(path: Path, official: OfficialConfig, axes: int, statistics: str | None) -> dict[str, object]:
    """Make `preprocessing.json` for a folder. statistics: the data set whose constants an ECG model uses.

    Raises InputError for channels without constants, and for unsupported image processing.
    """
    channels = official.num_channels
    if axes == 1:
        if channels != len(LEADS):
            raise InputError(f"{path}: num_channels is {channels}; an ECG model has the {len(LEADS)} leads")
        if statistics is None:
            raise InputError(
                f"{path}: is an ECG model without preprocessing constants; name a data set with --statistics: "
                f"{', '.join(CATALOGUE)}"
            )
        if statistics not in CATALOGUE:
            hint = did_you_mean(statistics, CATALOGUE)
            raise InputError(f"{path}: no constants are known for data set '{statistics}'{hint}")
        mean, std = CATALOGUE[statistics].constants()
        raw = {"fs": FS, "samples": official.length, "mean": mean, "std": std}
        return validated(EcgPreprocessing, raw, str(path)).model_dump(mode="json")
    if statistics is not None:
        raise InputError(f"{path}: is an image model, which has its own constants; leave out '{statistics}'")
    colours = next((name for name, number in CHANNELS.items() if number == channels), None)
    if colours is None:
        raise InputError(f"{path}: num_channels is {channels}; images have 3 channels (RGB) or 1 (grey)")
    mean, std = _constants(path, official)
    raw = {"side": official.length, "colours": colours, "centre": CENTRE, "mean": mean, "std": std}
    return validated(ImagePreprocessing, raw, str(path)).model_dump(mode="json")


def _constants(path: Path, official: OfficialConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation from preprocessor_config.json, or 0.5 and 0.5 without it, as published."""
    channels = official.num_channels
    if not (path / PROCESSOR).exists():
        return (0.5,) * channels, (0.5,) * channels
    found = validated(Processor, read_json(path / PROCESSOR), f"{path}/{PROCESSOR}")
    for fits, key, why in (
        (found.do_rescale, "do_rescale", "pixels from 0 to 1 are supported"),
        (abs(255 * found.rescale_factor - 1) < 1e-6, "rescale_factor", "pixels from 0 to 1 are supported"),
        (found.resample == 2, "resample", "2 (bilinear) is supported"),
        (set(found.size.values()) <= {official.length}, "size", f"image_size is {official.length}"),
    ):
        if not fits:
            raise InputError(f"{path}/{PROCESSOR}: {key} is {getattr(found, key)}; {why}")
    return (found.image_mean, found.image_std) if found.do_normalize else ((0.0,) * channels, (1.0,) * channels)
