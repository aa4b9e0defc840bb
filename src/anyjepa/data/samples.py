"""Prepared records of any modality, and digests that identify a record whatever its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np

from anyjepa.progress import tell


class Samples(Protocol):
    """Prepared records of any modality. If they have a time axis, it is the first one after the channels."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """A prepared record, (C, *samples) float32."""
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


def lengths(samples: Samples) -> np.ndarray:
    """Length of each record along the first axis, (N,). Records are read only if their lengths are unknown."""
    sizes = getattr(samples, "lengths", None)
    return np.array([samples[place].shape[1] for place in range(len(samples))]) if sizes is None else sizes


def in_order(samples: Samples, places: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the records at these places in order. Samples with a method `ahead` may read some of them in advance."""
    ahead = getattr(samples, "ahead", None)
    return (samples[place] for place in places) if ahead is None else ahead(places)


class SelectedSamples:
    """The records at `index` of other `Samples`, in that order."""

    def __init__(self, samples: Samples, index: Sequence[int] | np.ndarray):
        self.samples, self.index = samples, [int(i) for i in index]
        self.ids = tuple(samples.ids[i] for i in self.index)

    @property
    def lengths(self) -> np.ndarray | None:
        """Length of each record along the first axis, (N,); None if unknown before the records are read."""
        sizes = getattr(self.samples, "lengths", None)
        return None if sizes is None else sizes[self.index]

    def ahead(self, places: Sequence[int]) -> Iterator[np.ndarray]:
        """See `in_order`."""
        return in_order(self.samples, [self.index[place] for place in places])

    @property
    def source(self) -> tuple[str, ...]:
        """Name of the data set of each record; '' if unknown."""
        sources = getattr(self.samples, "source", None)
        return tuple(sources[i] if sources else "" for i in self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.samples[self.index[index]]


def signal_hashes(samples: Samples) -> list[str]:
    """Compute a digest of each signal's shape and values."""
    hashes = []
    for signal in in_order(samples, range(len(samples))):
        hashes.append(signal_hash(signal))
        tell(f"{len(hashes):,} of {len(samples):,}")
    return hashes


def signal_hash(signal: np.ndarray) -> str:
    """Compute a digest of a signal's shape and float32 values, which does not depend on its id."""
    signal = np.ascontiguousarray(signal, dtype=np.float32)
    return blake2b(repr(signal.shape).encode() + signal.tobytes(), digest_size=12).hexdigest()
