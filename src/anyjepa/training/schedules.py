"""Schedules as pure functions of the step, which is the number of finished optimiser steps."""

from __future__ import annotations

from math import cos, pi


def warmup_cosine(step: int, steps: int, peak: float, start: float, final: float, warmup: int) -> float:
    """Linear from `start` to `peak` over `warmup` steps, then half a cosine to `final` at the last step (ECG-JEPA)."""
    if step < warmup:
        return start + (peak - start) * step / warmup
    return cosine(step - warmup, steps - warmup, peak, final)


def cosine(step: int, steps: int, start: float, final: float) -> float:
    """Half a cosine from `start` at step 0 to `final` at step `steps` - 1, then `final`."""
    done = min(step / max(steps - 1, 1), 1.0)
    return final + 0.5 * (1 + cos(pi * done)) * (start - final)
