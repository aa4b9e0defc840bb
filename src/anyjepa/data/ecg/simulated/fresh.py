"""Pretraining on simulated patients without end: each crop is of a patient who has not been seen before."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, fresh_recording


@dataclass(frozen=True, eq=False, kw_only=True)
class FreshPatients(EcgDataset):
    """The records of a finite simulation give the statistics; crops are of new patients.

    The generator of a crop, which depends on the seed and the crop's position in the run, draws its patient.
    """

    simulator: SimulatorConfig

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        signal = self.preprocessing.prepare(fresh_recording(self.simulator, rng))
        start = int(rng.integers(signal.shape[1] - self.preprocessing.samples + 1))
        return self.mask_leads(signal[:, start : start + self.preprocessing.samples], rng), start


def fresh_patients(dataset: EcgDataset, simulator: SimulatorConfig) -> FreshPatients:
    """The data set of simulated records with new patients in its crops."""
    return FreshPatients(**{f.name: getattr(dataset, f.name) for f in fields(dataset)}, simulator=simulator)
