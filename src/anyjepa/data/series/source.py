"""Load the series of a recipe, and prepare them for the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from anyjepa.data.modality import DataConfig
from anyjepa.data.records import Records
from anyjepa.data.series.dataset import SeriesDataset
from anyjepa.data.series.preprocessing import Gaps, SeriesPreprocessing, fit_statistics
from anyjepa.data.series.reading import read
from anyjepa.data.series.record import Series
from anyjepa.data.series.simulator import WavesConfig, simulate
from anyjepa.data.training_part import check_excluded
from anyjepa.errors import InputError


class SeriesDataConfig(DataConfig):
    """Series for pretraining: files if paths are given, else the embedded simulator."""

    kind: Literal["series"] = "series"
    simulator: WavesConfig = Field(default=WavesConfig(), description="the simulated data set, used without files")
    channels: PositiveInt = Field(default=5, description="channels of every series")
    length: PositiveInt = Field(default=256, description="samples of a training crop")
    mean: tuple[float, ...] | None = Field(default=None, description="of each channel; none: the training part's")
    std: tuple[PositiveFloat, ...] | None = Field(default=None, description="of each channel; none: as measured")
    gaps: Gaps = Field(default="interpolate", description="missing values: linear interpolation, or an error")
    part: Literal["train", "all"] = Field(
        default="train", description="for a problem with TRAIN and TEST files: the training part, or all"
    )
    short: Literal["skip", "raise"] = Field(default="skip", description="what to do with a series shorter than a crop")
    on_error: Literal["raise", "skip"] = Field(
        default="raise", description="what to do with a file or series that cannot be used"
    )

    @property
    def size(self) -> tuple[int, ...]:
        """Samples of a full input."""
        return (self.length,)


def training_data(config: SeriesDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> SeriesDataset:
    """Load the series that a recipe trains on; without paths, the embedded set. exclude: ids. Raises InputError."""
    series, skipped = read(paths, config.on_error) if paths else (simulate(config.simulator), {})
    return _training_set(config, series, skipped, exclude, report=bool(paths))


def training_arrays(config: SeriesDataConfig, records: Records, exclude: Sequence[str] = ()) -> SeriesDataset:
    """Prepare series in memory for training: (channels, samples) each, NaN if missing. Raises InputError."""
    series = [Series(id, values, source="array") for id, values in zip(records.ids, records.raw, strict=True)]
    return _training_set(config, series, {}, exclude)


def _training_set(
    config: SeriesDataConfig,
    series: Sequence[Series],
    skipped: dict[str, str],
    exclude: Sequence[str],
    report: bool = True,
) -> SeriesDataset:
    """Make the training set. report: list series of other parts among the skipped ones."""
    ids = [one.id for one in series]
    check_excluded(exclude, ids)
    kept, usable = [], set(ids) - set(exclude)
    for one in series:
        if config.part == "train" and one.split not in (None, "train"):
            if report:
                skipped[one.id] = f"{one.where}: is in the {one.split} part; data.part=all takes it"
        elif one.id in usable:
            kept.append(one)
    if not kept:
        raise InputError(f"no series is left to train on; the first: {next(iter(skipped.values()), 'all excluded')}")
    dataset = SeriesDataset.from_series(kept, _fit(config, kept), short=config.short, on_error=config.on_error)
    dataset.skipped.update(skipped)
    return dataset


def evaluation_data(
    preprocessing: SeriesPreprocessing,
    paths: Sequence[Path],
    config: SeriesDataConfig | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> SeriesDataset:
    """Load all series with labels and split; without paths, the embedded set of `config`. Raises InputError."""
    embedded = (config or SeriesDataConfig()).simulator
    series, skipped = read(paths, on_error) if paths else (simulate(embedded), {})
    dataset = SeriesDataset.from_series(series, preprocessing, short=on_error, on_error=on_error)
    dataset.skipped.update(skipped)
    return dataset


def _fit(config: SeriesDataConfig, series: Sequence[Series]) -> SeriesPreprocessing:
    mean, std = config.mean, config.std
    if mean is None or std is None:
        fitted = fit_statistics(series, config.channels, config.gaps, config.on_error)
        mean, std = mean or fitted[0], std or fitted[1]
    if not len(mean) == len(std) == config.channels:
        raise InputError(f"data: {config.channels} channels, but {len(mean)} means and {len(std)} stds")
    return SeriesPreprocessing(length=config.length, mean=mean, std=std, gaps=config.gaps)
