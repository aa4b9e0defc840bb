"""Pretraining on an endless supply of simulated patients: each crop shows a new one, or one of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, fresh_recording
from anyjepa.data.pair import Pair
from anyjepa.errors import InputError
from anyjepa.randomness import generator


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class FreshPatients(EcgDataset):
    """Records with their statistics, in which a share of the crops shows new simulated patients.

    The generator of a crop, which depends on the seed and the crop's position in the run, draws its patient.
    """

    records: EcgDataset
    simulator: SimulatorConfig
    share: float

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        return self._crop(index, self._patient(rng), rng)

    def pairs(
        self,
        indices: Sequence[int],
        first: Sequence[np.random.Generator],
        second: Sequence[np.random.Generator],
        step: int,
    ) -> tuple[np.ndarray, Pair[np.ndarray]]:
        """Both inputs of a pair show one patient."""
        patients = [self._patient(rng) for rng in first]
        x, y = (
            np.stack([self._crop(*one)[0] for one in zip(indices, patients, rngs, strict=True)])
            for rngs in (first, second)
        )
        return x, Pair(y)

    def _patient(self, rng: np.random.Generator) -> np.ndarray | None:
        """The prepared record of a new patient, (L, T); None: the record itself is shown."""
        if self.share < 1 and rng.random() >= self.share:
            return None
        return self.preprocessing.prepare(fresh_recording(self.simulator, rng))

    def _crop(self, index: int, patient: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        if patient is None:
            return self.records.crop(index, rng)
        start = int(rng.integers(patient.shape[1] - self.preprocessing.samples + 1))
        return self.mask_leads(patient[:, start : start + self.preprocessing.samples], rng), start

    @property
    def description(self) -> str:
        if self.share == 1:
            return "simulated patients, a new one in every crop"
        return f"{super().description}; {self.share:.3g} of the crops show new simulated patients instead"

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.records.tasks

    @property
    def longest(self) -> int:
        return self.records.longest

    @property
    def lengths(self) -> np.ndarray | None:
        return self.records.lengths


def fresh_patients(records: EcgDataset, simulator: SimulatorConfig, share: float = 1.0) -> FreshPatients:
    """Convert a data set so that this share of its crops shows new simulated patients.

    Raises InputError if the simulator lacks a lead, or if its records are shorter than a crop.
    """
    needed = records.preprocessing
    lacking = [lead for lead in needed.leads if lead not in LEADS]
    if lacking and (needed.missing_leads == "refuse" or len(lacking) == len(needed.leads)):
        raise InputError(f"data.leads: the simulator has no lead '{lacking[0]}'; it has {', '.join(LEADS)}")
    example = needed.prepare(fresh_recording(simulator, generator(0, "example", 0)))
    if example.shape[1] < needed.samples:
        raise InputError(
            f"data.simulator.duration_s: simulated records are {example.shape[1] / needed.fs:g} s long, a crop needs "
            f"{needed.samples / needed.fs:g} s"
        )
    values = {f.name: getattr(records, f.name) for f in fields(EcgDataset)}
    return FreshPatients(**values, records=records, simulator=simulator, share=share)
