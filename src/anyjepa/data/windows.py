"""Where the windows of a long record begin."""

from __future__ import annotations


def window_starts(samples: int, size: int, stride: int) -> range:
    """First sample of every whole window: 0, stride, 2 stride, ... (ECG-JEPA)

    A remainder that is shorter than `size` has no window. Raises ValueError if the record is shorter than one window.
    """
    if samples < size:
        raise ValueError(f"{samples} samples are shorter than one window of {size}")
    return range(0, samples - size + 1, stride)
