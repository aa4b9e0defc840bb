"""Simulated hearts: how one patient's dipole moves, and how it projects to the leads.

The heart is one current dipole in Frank's axes (x to the left, y to the feet, z to the back; mV). P, Q, R, S and T are
bumps of it: Gaussians in time, each with a direction, after the idea of McSharry, Clifford et al. 2003 and Sameni et
al. 2007. Dower's matrix (Dower, Machado & Osborne 1980) projects it to I, II and V1-V6. The shapes and ranges are this
project's own, chosen to meet textbook criteria: synthetic signals to learn and test with, not clinical data.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

Condition = Literal[
    "NORM", "AFIB", "PVC", "LBBB", "RBBB", "STE_ANT", "STE_INF", "LVH", "STACH", "SBRAD", "AVB1"
]  # fmt: skip

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads that are not a sum of others, in the order of the rows of a projection."""

DOWER = np.array([
    [0.632, -0.235, 0.059],
    [0.235, 1.066, -0.132],
    [-0.515, 0.157, -0.917],
    [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277],
    [1.213, 0.127, -0.601],
    [1.125, 0.127, -0.086],
    [0.831, 0.076, 0.230],
])  # fmt: skip


@dataclass(frozen=True)
class Waves:
    """Bumps of the dipole: centre, rise and fall (standard deviations before and after it), vector (W, 3) in mV."""

    centre: np.ndarray
    rise: np.ndarray
    fall: np.ndarray
    vector: np.ndarray

    @classmethod
    def of(cls, *rows: tuple[float, ...]) -> Waves:
        """Create from one row per bump: centre, rise, fall, x, y, z."""
        table = np.array(rows, float)
        return cls(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])

    def lasting(self, seconds: float) -> Waves:
        """Multiply all times by `seconds`, so that shares of a duration become seconds."""
        return replace(self, centre=self.centre * seconds, rise=self.rise * seconds, fall=self.fall * seconds)

    def times(self, gain: float) -> Waves:
        return replace(self, vector=self.vector * gain)

    def only(self, rows: slice) -> Waves:
        """Select bumps by their rows."""
        return Waves(*(getattr(self, f.name)[rows] for f in fields(Waves)))

    def after(self, seconds: float) -> Waves:
        return replace(self, centre=self.centre + seconds)

    def __add__(self, other: Waves) -> Waves:
        return Waves(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(Waves)))

    def at(self, time: np.ndarray) -> np.ndarray:
        """Height of each bump, (..., W), at times (...)."""
        distance = time[..., None] - self.centre
        return np.exp(-0.5 * (distance / np.where(distance < 0, self.rise, self.fall)) ** 2)


# Times as shares of the wave's duration: centre, rise, fall; then x, y, z in mV.
ATRIA = Waves.of(
    (0.36, 0.16, 0.16, 0.035, 0.090, -0.050),  # right atrium
    (0.64, 0.17, 0.16, 0.075, 0.050, 0.055),  # left atrium
)
VENTRICLES = Waves.of(
    (0.17, 0.075, 0.075, -0.12, -0.05, -0.25),  # septum: r in V1, q in V6
    (0.45, 0.11, 0.11, 1.05, 0.65, 0.10),  # apex and free walls: R
    (0.62, 0.10, 0.10, 0.35, 0.10, 0.75),  # posterior wall: S in V1 and V2
    (0.80, 0.08, 0.08, -0.15, -0.20, 0.30),  # base: small terminal S
)
LEFT_BUNDLE_BLOCK = Waves.of(
    (0.10, 0.05, 0.05, 0.10, 0.05, -0.10),  # right to left from the start: no septal q
    (0.30, 0.12, 0.12, 0.78, 0.35, 0.05),  # two slow humps to the left: the notch of V5, V6, I
    (0.67, 0.13, 0.11, 0.85, 0.12, 0.05),
    (0.50, 0.20, 0.18, 0.05, 0.10, 0.95),  # and to the back: QS in V1
)
RIGHT_BUNDLE_BLOCK = Waves.of(
    (0.11, 0.050, 0.050, -0.12, -0.03, -0.28),
    (0.29, 0.075, 0.075, 1.00, 0.65, 0.10),  # the left ventricle as usual
    (0.41, 0.070, 0.070, 0.30, 0.10, 0.60),
    (0.66, 0.120, 0.120, -0.68, -0.08, -0.65),  # the right one late: R' in V1, S in I and V6
    (0.86, 0.070, 0.070, -0.18, 0.00, -0.20),
)
# Seconds after the J point at 60 beats per minute.
T_WAVE = Waves.of((0.200, 0.060, 0.040, 0.30, 0.22, -0.15))
ST_SEGMENT = Waves.of(*((centre, 0.028, 0.028, 0.57, 0.57, 0.57) for centre in (0.02, 0.06, 0.10, 0.14)))
"""Four bumps that add up to a level of 1 in every axis."""

SECONDARY_T = {"LBBB": (-0.30, -0.08, -0.42), "RBBB": (0.32, 0.20, 0.14)}  # against the late part of the QRS
SECONDARY_ST = {"LBBB": (-0.08, 0.00, -0.12), "RBBB": (0.02, 0.00, 0.04)}


@dataclass(frozen=True)
class Heart:
    """The heart and torso that all records of a patient share. Times in s, vectors in mV, rates in beats per minute.

    projection: (8, 3), dipole to the INDEPENDENT leads; atria: from P onset (None: no P waves); ventricles: from QRS
    onset; recovery: from the J point, stretched by the square root of the RR interval (Bazett 1920).
    """

    projection: np.ndarray
    rate: float
    irregularity: float  # standard deviation of the log RR interval
    breathing: float  # amplitude of respiratory sinus arrhythmia, share of the RR interval
    pr_s: float
    qrs_s: float
    atria: Waves | None
    ventricles: Waves
    recovery: Waves
    fibrillation_mv: float = 0.0
    ectopic: Waves | None = None  # QRS and T of a ventricular premature beat, from its onset
    ectopics_per_s: float = 0.0
    coupling: float = 0.65  # onset of the premature beat, share of the RR interval


@dataclass(frozen=True)
class Chance:
    """One patient's random draws; `variety` 0 makes all patients of a class equal, 1 gives the full spread."""

    rng: np.random.Generator
    variety: float

    def between(self, low: float, high: float) -> float:
        return (low + high) / 2 + min(self.variety, 1.0) * (self.rng.random() - 0.5) * (high - low)

    def normal(self, sd: float, *shape: int) -> np.ndarray:
        return sd * self.variety * self.rng.standard_normal(shape)


def draw_heart(condition: Condition, severity: float, chance: Chance) -> Heart:
    """Draw a patient of a class. severity: 0 is just over its criterion, 1 is marked. All else varies as normal."""
    bundle = condition in ("LBBB", "RBBB")
    projection = _torso(chance)
    rate = _rate(condition, severity, chance)
    pr_s = 0.215 + 0.13 * severity if condition == "AVB1" else min(chance.between(0.125, 0.185), 0.36 * 60 / rate)
    qrs_s = 0.128 + 0.04 * severity if bundle else chance.between(0.078, 0.108)
    table = {"LBBB": LEFT_BUNDLE_BLOCK, "RBBB": RIGHT_BUNDLE_BLOCK}.get(condition, VENTRICLES)
    shape = replace(table, vector=table.vector * np.exp(chance.normal(0.12, len(table.centre), 1)))
    ventricles = _with_voltage(shape, condition, severity, projection, chance).lasting(qrs_s)
    atria = ATRIA.lasting(chance.between(0.085, 0.110)).times(chance.between(0.65, 1.35))
    heart = Heart(
        projection=projection,
        rate=rate,
        irregularity=0.19 + 0.11 * severity if condition == "AFIB" else chance.between(0.005, 0.025),
        breathing=0.0 if condition == "AFIB" else chance.between(0.005, 0.045),
        pr_s=pr_s,
        qrs_s=qrs_s,
        atria=None if condition == "AFIB" else atria,
        ventricles=ventricles,
        recovery=_recovery(condition, severity, projection, chance),
        fibrillation_mv=(0.03 + 0.07 * severity) * (condition == "AFIB"),
    )
    if condition != "PVC":
        return heart
    return replace(
        heart,
        ectopic=_ectopic(severity, chance),
        ectopics_per_s=0.2 + 0.3 * severity,
        coupling=chance.between(0.58, 0.72),
    )


def _torso(chance: Chance) -> np.ndarray:
    """Vary Dower's matrix (8, 3) for another chest, other electrode positions and another position of the heart."""
    x, y, z = np.radians(chance.normal(1.0, 3) * (8, 9, 13))  # z turns the frontal axis, y the transition zone
    return (DOWER + chance.normal(0.05, 8, 3)) * np.exp(chance.normal(0.08, 8, 1)) @ rotation(x, y, z)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation matrix (3, 3) for three angles in radians: z moves the frontal axis, y the transition zone."""
    return (
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        @ np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        @ np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    )


def _rate(condition: Condition, severity: float, chance: Chance) -> float:
    if condition == "STACH":
        return 106 + 42 * severity
    if condition == "SBRAD":
        return 56 - 17 * severity
    return chance.between(68, 120) if condition == "AFIB" else chance.between(64, 95)


def _with_voltage(shape: Waves, condition: Condition, severity: float, projection: np.ndarray, chance: Chance) -> Waves:
    """Scale the QRS to a Sokolow-Lyon index (S in V1 + R in V5 or V6), above 3.5 mV in LVH; freely in bundle block."""
    if condition in ("LBBB", "RBBB"):
        return shape.times(chance.between(0.8, 1.25))
    index_mv = 3.75 + 1.6 * severity if condition == "LVH" else chance.between(1.5, 3.25)
    v1, v5, v6 = projection[[2, 6, 7]] @ (shape.at(np.linspace(-0.2, 1.2, 141)) @ shape.vector).T
    return shape.times(index_mv / (max(v5.max(), v6.max()) - v1.min()))


def _recovery(condition: Condition, severity: float, projection: np.ndarray, chance: Chance) -> Waves:
    """Draw the ST segment and the T wave."""
    t_vector = np.array(SECONDARY_T.get(condition, T_WAVE.vector[0]))
    st_vector = np.array(SECONDARY_ST.get(condition, (0, 0, 0))) + chance.normal(0.012, 3)
    if condition == "LVH":  # strain: recovery turns against the QRS
        t_vector = t_vector - severity * np.array([0.42, 0.22, 0.05])
        st_vector = st_vector - severity * np.array([0.08, 0.04, 0.05])
    # Injury: the vector that gives these levels in three leads of this torso; the other leads follow from it.
    elevated = {
        "STE_ANT": (["V2", "V3", "aVF"], (0.24 + 0.22 * severity) * np.array([1.0, 1.1, -0.40])),
        "STE_INF": (["II", "III", "V2"], (0.13 + 0.17 * severity) * np.array([1.0, 1.4, -0.30])),
    }
    if condition in elevated:
        leads, levels = elevated[condition]
        st_vector = np.linalg.solve(np.array([_row(projection, lead) for lead in leads]), levels)
        t_vector = 0.7 * t_vector + 0.8 * st_vector  # the T wave follows
    size = chance.between(0.6, 1.4)
    duration = chance.between(0.9, 1.1)
    wave = replace(T_WAVE, vector=size * t_vector * (1 + chance.normal(0.15, 1, 3)))
    return (wave + replace(ST_SEGMENT, vector=ST_SEGMENT.vector * st_vector)).lasting(duration)


def _row(projection: np.ndarray, lead: str) -> np.ndarray:
    first, second = projection[:2]
    limb = {"III": second - first, "aVF": second - first / 2}
    return limb[lead] if lead in limb else projection[INDEPENDENT.index(lead)]


def _ectopic(severity: float, chance: Chance) -> Waves:
    """Draw a beat that starts in a ventricle: wide, tall, from one wall to the other, with T the opposite way."""
    side = chance.rng.choice([-1, 1])  # 1: from the right ventricle, to the left and back; -1: from the left ventricle
    height = chance.rng.choice([-1, 1])  # from the outflow tract down, or from the apex up
    vector = side * np.array([0.75, 0, 0.8]) + height * np.array([0, 0.9, 0]) + chance.normal(0.15, 3)
    gain, duration = chance.between(1.0, 1.5), 0.135 + 0.03 * severity
    x, y, z = gain * vector
    qrs = Waves.of((0.36, 0.15, 0.15, 0.8 * x, y, 0.6 * z), (0.62, 0.16, 0.15, 0.6 * x, 0.4 * y, z)).lasting(duration)
    return qrs + replace(T_WAVE, vector=-0.38 * gain * vector[None]).lasting(0.95).after(duration)
