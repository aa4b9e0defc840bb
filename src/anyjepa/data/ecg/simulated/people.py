"""Differences between people and recordings that no diagnosis implies: body, electrodes, axis, rate, waves, noise.

The spreads are this project's own: wide enough that no lead's level, rate or axis is typical of a class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anyjepa.data.ecg.simulated.heart import Condition, Heart, Waves, rotation

_FREE_RATE = ("PVC", "LBBB", "RBBB", "STE_ANT", "STE_INF", "LVH", "AVB1")  # their criteria do not depend on the rate


def as_person(heart: Heart, condition: Condition, spread: float, rng: np.random.Generator) -> Heart:
    """Vary the body, the electrodes and the waves of a heart. spread: 0 changes nothing, 1 is as in a clinic."""

    def factor(log_sd: float, *shape: int) -> np.ndarray:
        return np.exp(spread * log_sd * rng.standard_normal(shape))

    def turned(degrees: tuple[float, float, float]) -> np.ndarray:
        return rotation(*np.radians(spread * np.array(degrees) * rng.standard_normal(3)))

    gain = factor(0.3) * factor(0.2, 8, 1)  # of the body, and of the electrodes
    projection = gain * heart.projection @ turned((15, 15, 25))
    rate = heart.rate * float(factor(0.25))
    low, high = (42.0, 145.0) if condition in _FREE_RATE else (60.0, 100.0) if condition == "NORM" else (0.0, np.inf)
    rate = float(np.clip(rate, low, high)) if low else heart.rate
    qrs = replace(heart.ventricles, vector=heart.ventricles.vector * factor(0.25, len(heart.ventricles.centre), 1))
    breathing = min(heart.breathing * float(factor(0.8)), 0.15)
    return replace(
        heart,
        projection=projection,
        rate=rate,
        breathing=breathing,
        pr_s=heart.pr_s if condition == "AVB1" else min(heart.pr_s, 0.36 * 60 / rate),
        atria=heart.atria and heart.atria.times(float(factor(0.4))),
        ventricles=qrs,
        recovery=_turned(heart.recovery, turned((25, 25, 35))).times(float(factor(0.35))).lasting(float(factor(0.08))),
    )


def noise_level(level: float, spread: float, rng: np.random.Generator) -> float:
    """Draw the noise level of one recording, around `level`."""
    return level * float(np.exp(spread * 0.6 * rng.standard_normal()))


def _turned(waves: Waves, turn: np.ndarray) -> Waves:
    return replace(waves, vector=waves.vector @ turn)
