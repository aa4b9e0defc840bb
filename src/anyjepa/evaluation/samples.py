"""Records of any modality, and the windows that an encoder sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from anyjepa.config import Config
from anyjepa.data.dataset import Dataset
from anyjepa.errors import InputError


class Samples(Protocol):
    """Prepared records of any modality. Their first axis after the channels is time, where there is time."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """(C, *samples) float32."""
        ...


@dataclass(frozen=True)
class ArraySamples:
    """`Samples` held in memory."""

    ids: tuple[str, ...]
    signals: list[np.ndarray]  # (C, *samples) float32 each; lengths may differ

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.signals[index]


class SelectedSamples:
    """`Samples` at `index` of others, in that order."""

    def __init__(self, samples: Samples, index: Sequence[int] | np.ndarray):
        self.samples, self.index = samples, [int(i) for i in index]
        self.ids = tuple(samples.ids[i] for i in self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.samples[self.index[index]]


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


def signal_hashes(samples: Samples) -> list[str]:
    """A digest of each signal's shape and values."""
    return [signal_hash(samples[i]) for i in range(len(samples))]


def signal_hash(signal: np.ndarray) -> str:
    """A digest of one signal's shape and float32 values; equal for equal signals of different ids."""
    signal = np.ascontiguousarray(signal, dtype=np.float32)
    return blake2b(repr(signal.shape).encode() + signal.tobytes(), digest_size=12).hexdigest()
