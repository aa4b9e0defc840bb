"""The windows of a record that an encoder sees."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from anyjepa.config import Config
from anyjepa.data.dataset import Dataset
from anyjepa.data.samples import Samples
from anyjepa.errors import InputError


class Windows(Config):
    """How a record becomes inputs of the encoder."""

    length: PositiveInt | None = Field(
        default=None, description="samples along the first axis; none: the whole record, by whole patches"
    )
    stride: PositiveInt | None = Field(
        default=None, description="samples between starts of windows; none: half a window"
    )
    count: PositiveInt | None = Field(
        default=None,
        description="in place of a stride: so many windows evenly spread, the first at the record's start, the last at "
        "its end (one: in the middle); as many as differ where the record is hardly longer than a window",
    )
    tail: Literal["cover", "drop"] = Field(
        default="cover",
        description="a remainder shorter than a window: covered by a last window that ends with the record, or dropped "
        "(ECG-JEPA as published)",
    )
    absolute: bool = Field(default=False, description="positions count from the record's start instead of the window's")
    batch: PositiveInt = Field(default=64, description="windows encoded at a time")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.stride is not None and self.count is not None:
            raise ValueError("stride and count: windows follow one of them, leave the other out")
        return self

    def starts(self, samples: int) -> list[int]:
        """First samples of a record's windows: 0, stride, 2 stride ..., and what `tail` says of the record's end."""
        if self.length is None:
            return [0]
        last = samples - self.length
        if self.count is not None:
            return (
                sorted({round(place) for place in np.linspace(0, last, self.count)}) if self.count > 1 else [last // 2]
            )
        starts = list(range(0, last + 1, self.stride or max(1, self.length // 2)))
        return starts if self.tail == "drop" or starts[-1] == last else [*starts, last]


def cut(samples: Samples, place: int, windows: Windows, patch: int) -> list[tuple[np.ndarray, int]]:
    """A record's windows (C, length, ...) and their first samples. Raises InputError for a record under one window.

    patch: samples of a token along the first axis; of a whole record an incomplete last patch is left out.
    """
    signal = samples[place]
    length = windows.length or max(1, signal.shape[1] // patch) * patch
    if signal.shape[1] < length:
        raise InputError(f"record '{samples.ids[place]}' has {signal.shape[1]} samples; the encoder needs {length}")
    return [(signal[:, start : start + length], start) for start in windows.starts(signal.shape[1])]


def longer(samples: Samples, limit: int) -> np.ndarray:
    """(N,) whether each record has more than `limit` samples along the first axis."""
    if isinstance(samples, Dataset) and samples.longest <= limit:
        return np.zeros(len(samples), bool)  # without reading them
    return np.array([samples[i].shape[1] > limit for i in range(len(samples))], bool)
