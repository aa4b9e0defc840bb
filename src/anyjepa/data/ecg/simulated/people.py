"""Differences between people and recordings that no diagnosis implies: body, electrodes, axis, rate, waves, noise.

The spreads are this project's own: wide enough that no lead's level, rate or axis is typical of a class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anyjepa.data.ecg.simulated.heart import ATRIA, Chance, Condition, Heart, Waves, rotation, ventricular_beat

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


def with_premature_beats(heart: Heart, chance: Chance) -> Heart:
    """Add premature beats to a heart of any diagnosis: from a ventricle, from an atrium unless it fibrillates, or both.

    They may be few or every second one. A ventricular beat comes early or nearly on time; an atrial one has a P wave of
    its own.
    """
    rng = chance.rng
    ventricular, atrial = [(True, False), (False, True), (True, True)][rng.integers(3)]
    if (ventricular or not heart.atria) and not heart.ectopic:
        heart = replace(
            heart,
            ectopic=ventricular_beat(rng.random() ** 2, chance).times(float(np.exp(0.3 * rng.standard_normal()))),
            ectopics_per_s=0.05 * 16 ** rng.random(),  # from 1 in 20 s to 0.8 per s
            coupling=rng.uniform(0.45, 0.95),
        )
    if atrial and heart.atria:
        turn = rotation(*np.radians(60 * rng.standard_normal(3)))  # from another place
        heart = replace(
            heart,
            early_atria=_turned(ATRIA, turn).lasting(chance.between(0.08, 0.11)).times(chance.between(0.5, 1.3)),
            early_share=0.02 * 20 ** rng.random(),  # from 2 to 40 %
            early_coupling=rng.uniform(0.5, 0.88),
        )
    return heart


def noise_level(level: float, spread: float, rng: np.random.Generator) -> float:
    """Draw the noise level of one recording, around `level`."""
    return level * float(np.exp(spread * 0.6 * rng.standard_normal()))


def _turned(waves: Waves, turn: np.ndarray) -> Waves:
    return replace(waves, vector=waves.vector @ turn)
