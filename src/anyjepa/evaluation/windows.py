"""Cut records into the windows that an encoder sees."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from anyjepa.config import Config
from anyjepa.data.dataset import Dataset
from anyjepa.data.samples import Samples, lengths
from anyjepa.errors import InputError

BATCH = 64


class Windows(Config):
    """How records are cut into windows."""

    length: PositiveInt | None = Field(
        default=None, description="samples along the first axis; null: the whole record, without an incomplete patch"
    )
    stride: PositiveInt | None = Field(
        default=None, description="samples between the starts of windows; null: half a window"
    )
    count: PositiveInt | None = Field(
        default=None,
        description="number of windows, instead of a stride: evenly spaced from the start to the end of the record "
        "(one window: in the middle); fewer if the record is too short for so many different windows",
    )
    tail: Literal["cover", "drop"] = Field(
        default="cover",
        description="what to do with a remainder shorter than a window: cover it by a last window that ends with the "
        "record, or drop it (ECG-JEPA as published)",
    )
    absolute: bool = Field(default=False, description="count positions from the start of the record, not of the window")
    batch: PositiveInt = Field(default=BATCH, description="number of windows to encode at a time")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.stride is not None and self.count is not None:
            raise ValueError("set one of stride and count, not both")
        return self

    def starts(self, samples: int) -> list[int]:
        """First samples of the windows of a record: 0, stride, 2 stride, ..., and one at the end as set by `tail`."""
        if self.length is None:
            return [0]
        last = samples - self.length
        if self.count is not None:
            return (
                sorted({round(place) for place in np.linspace(0, last, self.count)}) if self.count > 1 else [last // 2]
            )
        starts = list(range(0, last + 1, self.stride or max(1, self.length // 2)))
        return starts if self.tail == "drop" or starts[-1] == last else [*starts, last]

    def counts(self, samples: Samples) -> np.ndarray:
        """Number of windows of each record, (N,); a record that is too short has one, and raises an error when cut."""
        different, which = np.unique(lengths(samples), return_inverse=True)
        return np.array([len(self.starts(max(int(length), self.length or 0))) for length in different])[which]


def cut(samples: Samples, place: int, windows: Windows, patch: int) -> list[tuple[np.ndarray, int]]:
    """Windows (C, length, ...) of a record and their first samples. Raises InputError if the record is too short.

    patch: samples per token along the first axis. An incomplete last patch of a whole record is dropped.
    """
    return cut_signal(samples[place], samples.ids[place], windows, patch)


def cut_signal(signal: np.ndarray, id: str, windows: Windows, patch: int) -> list[tuple[np.ndarray, int]]:
    """The same of a record that has been read, (C, samples, ...)."""
    length = windows.length or max(1, signal.shape[1] // patch) * patch
    if signal.shape[1] < length:
        raise InputError(f"record '{id}' has {signal.shape[1]} samples; the encoder needs {length}")
    return [(signal[:, start : start + length], start) for start in windows.starts(signal.shape[1])]


def longer(samples: Samples, limit: int) -> np.ndarray:
    """Whether each record has more than `limit` samples along the first axis, (N,)."""
    if isinstance(samples, Dataset) and samples.longest <= limit:
        return np.zeros(len(samples), bool)  # no need to read them
    return lengths(samples) > limit
