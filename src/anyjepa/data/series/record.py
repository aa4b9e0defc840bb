"""A multichannel series as read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyjepa.data.array_likes import as_array
from anyjepa.errors import InputError


@dataclass(frozen=True)
class Series:
    """One series: values (C, T) float32, NaN if missing. Raises InputError for another shape or infinite values."""

    id: str
    values: np.ndarray  # (C, T) float32
    label: str | None = None  # class
    group: str | None = None  # group that a split must not divide, such as a subject; None: unknown
    split: str | None = None  # 'train', 'validation' or 'test' if fixed by the source
    source: str = ""
    file: str = ""  # used in messages

    def __post_init__(self) -> None:
        values = as_array(self.values, self.where)
        if values.ndim != 2 or not values.size:
            raise InputError(f"{self.where}: shape {values.shape} must be (channels, samples), neither of them 0")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if np.isinf(values).any():
            channel = int(np.isinf(values).any(1).argmax())
            raise InputError(f"{self.where}: channel {channel} has a value that is not a finite float32")
        object.__setattr__(self, "values", values)

    @property
    def where(self) -> str:
        return self.file or f"series '{self.id}'"
