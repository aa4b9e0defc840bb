"""Simulated 12-lead ECGs: the embedded data set, so that everything runs without real records.

A rhythm determines when atria and ventricles fire, a heart (`heart`) how the dipole then moves and reaches the leads,
and a recorder (`recorder`) adds noise. Each patient has one class, with signs from borderline to marked. All else
varies within the normal range. The data are synthetic, for demonstration and tests, and of no clinical use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from anyjepa.config import Config, Share
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.recording import Delineation, Recording
from anyjepa.data.ecg.simulated.heart import Chance, Condition, Heart, Waves, draw_heart
from anyjepa.data.ecg.simulated.people import as_person, noise_level
from anyjepa.data.ecg.simulated.recorder import noise, twelve_leads
from anyjepa.limits import MEMORY
from anyjepa.randomness import generator

CLASSES: tuple[Condition, ...] = get_args(Condition)


class SimulatorConfig(Config):
    """Number of patients, and length and difficulty of records. Patient i does not depend on the number of patients."""

    kind: Literal["simulator"] = "simulator"
    patients: int = Field(default=1100, ge=1, description="number of patients, equally many per class")
    records_per_patient: int = Field(default=1, ge=1, description="records of a patient; they share heart and torso")
    fs: float = Field(default=500.0, ge=80, le=2000, description="sampling rate, Hz")
    duration_s: float = Field(default=10.0, ge=5, description="length of a record, s")
    classes: tuple[Condition, ...] = Field(default=CLASSES, min_length=1, description="which diagnoses occur")
    severity: tuple[Share, Share] = Field(
        default=(0.0, 1.0), description="range: 0 just over the class's criterion, 1 marked"
    )
    variety: float = Field(
        default=1.0, ge=0, le=1.5, description="spread between patients; 0: none, 1: as in a population"
    )
    spread: float = Field(
        default=0.0,
        ge=0,
        le=1.5,
        description="differences besides the diagnosis: body, electrodes, axis, rate, waves, noise; 1 as in a clinic",
    )
    fresh: bool = Field(default=False, description="pretraining draws a new patient for every crop")
    noise: float = Field(
        default=1.0,
        ge=0,
        description="muscle noise, baseline wander and mains hum; 0: none, 1: as in an ordinary clinic",
    )
    shares: tuple[Share, Share, Share] = Field(
        default=(0.7, 0.15, 0.15), description="train, validation, test; of patients"
    )
    seed: int = Field(default=0, description="other seeds give other patients")

    @model_validator(mode="after")
    def _ordered(self) -> SimulatorConfig:
        if self.severity[0] > self.severity[1]:
            raise ValueError(f"severity must be (lowest, highest), got {self.severity}")
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares {self.shares} add up to {sum(self.shares):g}, not to 1")
        return self


@dataclass(frozen=True)
class Beats:
    """Times of the beats of a simulated heart, in s from the start of the record; some are outside of the record.

    onsets: (B,) of the QRS complexes. ventricular: (B,) true for premature beats from a ventricle. p_onsets: (P,),
    empty without P waves. pr_s (NaN without P waves) and qrs_s: intervals of conducted beats.
    """

    onsets: np.ndarray
    ventricular: np.ndarray
    p_onsets: np.ndarray
    pr_s: float
    qrs_s: float


def simulate(config: SimulatorConfig) -> list[Recording]:
    """Make all records, patient by patient. Statements contain the class, and leads are the usual twelve."""
    records, samples = config.patients * config.records_per_patient, config.fs * config.duration_s
    MEMORY.check(records * (8 * len(LEADS) * samples + 1000), f"a simulation of {records} records")
    return [recording for patient in range(config.patients) for recording, _ in simulate_patient(config, patient)]


def simulate_patient(config: SimulatorConfig, patient: int) -> Iterator[tuple[Recording, Beats]]:
    """Make the records of one patient, each with the true times of its beats."""
    rng = generator(config.seed, "simulator", patient)
    condition = config.classes[patient % len(config.classes)]
    yield from _records(config, condition, f"sim{config.seed}-{patient:05d}", rng)


def fresh_recording(config: SimulatorConfig, rng: np.random.Generator) -> Recording:
    """One record of a new patient of any class, drawn from `rng` alone."""
    condition = config.classes[rng.integers(len(config.classes))]
    return next(_records(config, condition, "fresh", rng))[0]


def patient_split(config: SimulatorConfig) -> dict[str, str]:
    """Part of each patient: 'train', 'validation' or 'test', with the same shares in every class.

    The n-th patient of a class is at the fractional part of n times the golden ratio. These numbers are evenly spread
    for any n, and adding patients does not change the parts of others.
    """
    turn = np.arange(config.patients) // len(config.classes)
    place = ((turn + 0.5) * (5**0.5 - 1) / 2) % 1
    part = np.searchsorted(np.cumsum(config.shares[:2]), place, side="right")
    names = ("train", "validation", "test")
    return {f"sim{config.seed}-{patient:05d}": names[part[patient]] for patient in range(config.patients)}


def _records(
    config: SimulatorConfig, condition: Condition, name: str, rng: np.random.Generator
) -> Iterator[tuple[Recording, Beats]]:
    heart = draw_heart(condition, rng.uniform(*config.severity), Chance(rng, config.variety))
    if config.spread:
        heart = as_person(heart, condition, config.spread, rng)
    for number in range(config.records_per_patient):
        level = noise_level(config.noise, config.spread, rng) if config.spread else config.noise
        beats, dipole, waves = _record(heart, config, rng)
        signal = twelve_leads(heart.projection @ dipole + noise(rng, dipole.shape[1], config.fs, level))
        recording = Recording(
            id=f"{name}-{number}",
            signal=signal,
            fs=config.fs,
            leads=LEADS,
            patient=name,
            statements=frozenset([condition]),
            source="simulator",
            waves=partial(Delineation, *waves, (0.0, config.duration_s)),
        )
        yield recording, beats


def _record(heart: Heart, config: SimulatorConfig, rng: np.random.Generator) -> tuple[Beats, np.ndarray, tuple]:
    """The beats, the dipole (3, T), and names, onsets and offsets of the waves of one record."""
    beats, breath = _rhythm(heart, config.duration_s, rng)
    canvas = _Canvas(config.fs, round(config.fs * config.duration_s))
    if heart.atria:
        canvas.draw(beats.p_onsets, heart.atria)
    conducted = ~beats.ventricular
    previous = np.diff(beats.onsets, prepend=beats.onsets[0] - 60 / heart.rate)
    stretch = np.sqrt((previous + 60 / heart.rate) / 2)  # recovery remembers more than one interval
    canvas.draw(beats.onsets[conducted], heart.ventricles, gain=breath[conducted])
    canvas.draw(beats.onsets[conducted] + heart.qrs_s, heart.recovery, stretch[conducted], breath[conducted])
    if heart.ectopic:
        canvas.draw(beats.onsets[beats.ventricular], heart.ectopic)
    if heart.fibrillation_mv:
        canvas.dipole += heart.fibrillation_mv * _fibrillation(canvas.time, rng)
    return beats, canvas.dipole, _waves(heart, beats, stretch[conducted])


def _waves(heart: Heart, beats: Beats, stretch: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, onsets and offsets of all waves. A bump begins and ends two standard deviations from its centre."""

    def spans(name: str, starts: np.ndarray, waves: Waves, stretch: np.ndarray | float = 1.0) -> tuple:
        begin, end = (waves.centre - 2 * waves.rise).min(), (waves.centre + 2 * waves.fall).max()
        return (name,) * len(starts), starts + stretch * begin, starts + stretch * end

    conducted, ectopic = beats.onsets[~beats.ventricular], beats.onsets[beats.ventricular]
    parts = [
        (("QRS",) * len(conducted), conducted, conducted + beats.qrs_s),
        spans("T", conducted + beats.qrs_s, heart.recovery.only(slice(1)), stretch),
    ]
    if heart.atria:
        parts.append(spans("P", beats.p_onsets, heart.atria))
    if heart.ectopic:
        parts += [
            spans("QRS", ectopic, heart.ectopic.only(slice(-1))),
            spans("T", ectopic, heart.ectopic.only(slice(-1, None))),
        ]
    names, onsets, offsets = zip(*parts, strict=True)
    return sum(names, ()), np.concatenate(onsets), np.concatenate(offsets)


def _rhythm(heart: Heart, duration_s: float, rng: np.random.Generator) -> tuple[Beats, np.ndarray]:
    """Beats from 2 s before the record to 2 s after it, and the size of each beat (breathing moves the heart)."""
    mean_s = 60 / heart.rate * rng.uniform(0.97, 1.03)
    blocks = int((duration_s + 5) / mean_s / 5) + 2
    # Every five intervals take the fifths of the distribution in random order, so any ten beats show its spread.
    fifths = rng.permuted(np.tile(np.arange(5), (blocks, 1)), axis=1).ravel()
    scatter = ((fifths + rng.random(5 * blocks)) / 5 - 0.5) * 12**0.5  # uniform, variance 1
    breath = np.sin(2 * np.pi * (rng.uniform(0.15, 0.35) * mean_s * np.arange(5 * blocks) + rng.random()))
    intervals = mean_s * np.exp(heart.irregularity * scatter + heart.breathing * breath)
    scheduled = np.cumsum(intervals) - 2 - intervals[0] * (1 + rng.random())
    onsets, ventricular = scheduled.copy(), np.zeros(len(scheduled), bool)
    if heart.ectopic:
        # The sinus node keeps its schedule: a premature beat takes the next one's place and a pause follows.
        inside = np.flatnonzero((scheduled > 1.5 * mean_s) & (scheduled < duration_s - 1.5 * mean_s))
        places = inside[rng.integers(2) :: 2]  # every other beat, so never two in a row
        chosen = rng.permutation(places)[: max(2, round(heart.ectopics_per_s * duration_s))]
        onsets[chosen] = scheduled[chosen - 1] + heart.coupling * (scheduled[chosen] - scheduled[chosen - 1])
        ventricular[chosen] = True
    p_onsets, pr_s = (scheduled - heart.pr_s, heart.pr_s) if heart.atria else (scheduled[:0], float("nan"))
    return Beats(onsets, ventricular, p_onsets, pr_s, heart.qrs_s), 1 + 0.04 * breath


def _fibrillation(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw fibrillatory waves (3, T) of about 1 mV in V1, from two wandering sources of 5 to 8 Hz."""
    slow = 2 * np.pi * (rng.uniform(0.1, 0.4, (2, 1)) * time + rng.random((2, 1)))
    quick = 2 * np.pi * (rng.uniform(0.7, 1.6, (2, 1)) * time + rng.random((2, 1)))
    phase = 2 * np.pi * (rng.uniform(5, 8, (2, 1)) * time + 0.5 * np.sin(slow) + 0.15 * np.sin(quick))
    waves = (np.sin(phase) + 0.3 * np.sin(2 * phase)) * (1 + 0.3 * np.cos(slow) + 0.3 * np.cos(quick))
    return np.array([[-0.3, 0.3, -0.85], [0.15, 0.5, -0.2]]).T @ waves


class _Canvas:
    """The dipole over a record's time, drawn wave by wave."""

    def __init__(self, fs: float, samples: int):
        self.fs = fs
        self.time = np.arange(samples) / fs
        self.dipole = np.zeros((3, samples))

    def draw(
        self, starts: np.ndarray, waves: Waves, stretch: np.ndarray | float = 1.0, gain: np.ndarray | float = 1.0
    ) -> None:
        """Add `waves` once from each of B starts (s), all times multiplied by stretch and all heights by gain."""
        stretch, gain = np.broadcast_to(stretch, starts.shape), np.broadcast_to(gain, starts.shape)
        reach = stretch.max(initial=1.0) * 5.0  # five standard deviations; the rest is below 0.01 uV per mV
        begin = min(0.0, reach / 5 * waves.centre.min() - reach * waves.rise.max())
        end = reach / 5 * waves.centre.max() + reach * waves.fall.max()
        window = np.arange(int(begin * self.fs) - 1, int(end * self.fs) + 2)
        place = np.round(starts * self.fs).astype(int)[:, None] + window  # (B, n) samples
        time = (place / self.fs - starts[:, None]) / stretch[:, None]
        drawn = (gain[:, None, None] * waves.at(time)) @ waves.vector  # (B, n, 3)
        inside = (place >= 0) & (place < self.dipole.shape[1])
        for axis in range(3):
            self.dipole[axis] += np.bincount(place[inside], drawn[..., axis][inside], self.dipole.shape[1])
