"""The simulated recorder: nine electrodes with their noise, and the twelve leads made from them."""

from __future__ import annotations

import numpy as np

from anyjepa.data.ecg.leads import LEADS, LIMB
from anyjepa.data.ecg.simulated.heart import INDEPENDENT

# Right arm, left arm, left leg, V1-V6. Chest leads are measured against the mean of the limbs (Wilson's terminal).
_ELECTRODES = np.zeros((8, 9))
_ELECTRODES[0, [1, 0]] = 1, -1
_ELECTRODES[1, [2, 0]] = 1, -1
_ELECTRODES[2:, :3] = -1 / 3
_ELECTRODES[2:, 3:] = np.eye(6)

_TWELVE = np.array([
    [*LIMB[lead], *[0] * 6] if lead in LIMB else [float(lead == name) for name in INDEPENDENT] for lead in LEADS
])  # fmt: skip


def twelve_leads(independent: np.ndarray) -> np.ndarray:
    """Compute twelve leads (12, T) float32 from I, II, V1-V6 (8, T), by Einthoven's and Goldberger's laws."""
    return (_TWELVE @ independent).astype(np.float32)


def noise(rng: np.random.Generator, samples: int, fs: float, level: float) -> np.ndarray:
    """Draw noise of the electrodes, (8, T) in mV: muscle, baseline wander and mains hum. level: 1 is as in a clinic."""
    if level == 0:
        return np.zeros((8, samples))
    time = np.arange(samples) / fs
    mains = rng.choice([50.0, 60.0])
    hertz = np.array([rng.uniform(0.15, 0.35), *rng.uniform(0.03, 0.5, 3), mains])  # breathing, drift, mains
    size_mv = np.array([0.05, *rng.uniform(0.02, 0.08, 3), rng.uniform(0, 0.012)])
    size_mv[-1] *= mains < 0.45 * fs  # a recorder's filter leaves nothing near half the sampling rate
    phase = 2 * np.pi * hertz[:, None] * time
    waves = np.concatenate([np.sin(phase), np.cos(phase)])  # (2 * 5, T)
    weights = rng.standard_normal((9, 10)) * np.tile(size_mv, 2)
    strength_mv = 0.016 * np.exp(0.4 * rng.standard_normal((9, 1)))
    tension = 1 + 0.5 * waves[1]  # a muscle tightens and relaxes
    muscle = strength_mv * tension * rng.standard_normal((9, samples))
    return level * _ELECTRODES @ (weights @ waves + muscle)
