"""The second half of the pairs from which paired prediction learns."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

Array = TypeVar("Array")  # numpy arrays from the data, tensors in training


class Pair(NamedTuple, Generic[Array]):
    """For each of B samples, the sample that it is paired with, and the condition that leads from one to the other."""

    other: Array  # (B, C, *samples), the second sample of each pair, perhaps of another modality
    condition: Array | None = None  # (B, P, width), at most P condition tokens; None: two views of one record
    valid: Array | None = None  # (B, P) bool, False where a condition token is padding; None: all are valid
