"""Prepare series for an encoder: fill gaps and standardise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.data.modality import Preprocessing
from anyjepa.data.series.record import Series
from anyjepa.errors import DataWarning, InputError

Gaps = Literal["interpolate", "refuse"]


class SeriesPreprocessing(Preprocessing):
    """Everything needed to prepare new series for a model as in its training."""

    kind: Literal["series"] = "series"
    length: PositiveInt = Field(description="samples of a training crop")
    mean: tuple[float, ...] = Field(min_length=1, description="mean of each channel over the training part")
    std: tuple[PositiveFloat, ...] = Field(description="standard deviation of each channel over the training part")
    gaps: Gaps = Field(default="interpolate", description="missing values: linear interpolation in time, or an error")

    @model_validator(mode="after")
    def _one_constant_a_channel(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means, but {len(self.std)} stds")
        return self

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def size(self) -> tuple[int, ...]:
        """Samples of a full input."""
        return (self.length,)

    def prepare(self, raw: Series | np.ndarray) -> np.ndarray:
        """Prepare a series, or its values (C, T) with NaN if missing, as (C, T) float32. Raises InputError."""
        series = raw if isinstance(raw, Series) else Series("given", raw)
        filled = fill_gaps(series, self.channels, self.gaps)
        if filled.shape[1] < self.length:
            raise InputError(f"{series.where}: has {filled.shape[1]} samples, but the model needs {self.length}")
        return ((filled - np.array(self.mean)[:, None]) / np.array(self.std)[:, None]).astype(np.float32)

    def restore(self, x: np.ndarray, source: str) -> np.ndarray:
        """Convert a prepared series back to the unit of the data, (C, T)."""
        return x * np.array(self.std)[:, None] + np.array(self.mean)[:, None]


def fill_gaps(series: Series, channels: int, gaps: Gaps) -> np.ndarray:
    """Fill gaps; returns (C, T) float32 without NaN.

    Raises InputError for another number of channels, and for gaps that cannot or must not be filled.
    """
    values = series.values
    if len(values) != channels:
        raise InputError(
            f"{series.where}: the number of channels is {len(values)}, not {channels} (data.channels of the recipe)"
        )
    missing = np.isnan(values)
    if not missing.any():
        return values
    filled, times = values.copy(), np.arange(values.shape[1])
    for channel in np.flatnonzero(missing.any(1)):
        there = ~missing[channel]
        if not there.any():
            raise InputError(f"{series.where}: channel {channel} has no values")
        if gaps == "refuse":
            raise InputError(
                f"{series.where}: channel {channel} lacks {np.sum(~there)} values, the first at sample "
                f"{there.argmin()}; data.gaps=interpolate fills them"
            )
        filled[channel] = np.interp(times, times[there], values[channel, there])
    return filled


def fit_statistics(
    series: Iterable[Series], channels: int, gaps: Gaps, on_error: Literal["raise", "skip"] = "raise"
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute the mean and standard deviation of each channel over all samples; pass only the training part.

    A constant channel gives a DataWarning and is only centred. on_error 'skip': series that cannot be filled are
    ignored here, and listed when the data set is built. Raises InputError if none is left.
    """
    filled: list[np.ndarray] = []
    reason = "none was given"
    for one in series:
        try:
            filled.append(fill_gaps(one, channels, gaps))
        except InputError as error:
            if on_error == "raise":
                raise
            reason = str(error)
    if not filled:
        raise InputError(f"no usable series: {reason}")
    count = sum(values.shape[1] for values in filled)
    mean = sum((values.sum(1, dtype=np.float64) for values in filled), np.zeros(channels)) / count
    squares = (((values - mean[:, None]) ** 2).sum(1) for values in filled)
    std = np.sqrt(sum(squares, np.zeros(channels)) / count)
    flat = std <= 1e-7 * np.maximum(1, np.abs(mean))
    if flat.any():
        names = ", ".join(map(str, np.flatnonzero(flat)))
        warnings.warn(f"statistics: constant in every training series: channel {names}", DataWarning, stacklevel=2)
    return tuple(mean.tolist()), tuple(np.where(flat, 1.0, std).tolist())
