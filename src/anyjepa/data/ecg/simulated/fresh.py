"""Pretraining on an endless supply of simulated patients: every crop shows a new one."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, fresh_recording


@dataclass(frozen=True, eq=False, kw_only=True)
class FreshPatients(EcgDataset):
    """A data set whose statistics come from a finite simulation, and whose crops come from new patients.

    The generator of a crop, which depends on the seed and the crop's position in the run, draws its patient.
    """

    simulator: SimulatorConfig

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        signal = self.preprocessing.prepare(fresh_recording(self.simulator, rng))
        start = int(rng.integers(signal.shape[1] - self.preprocessing.samples + 1))
        return self.mask_leads(signal[:, start : start + self.preprocessing.samples], rng), start


def fresh_patients(dataset: EcgDataset, simulator: SimulatorConfig) -> FreshPatients:
    """Convert a data set of simulated records so that its crops come from new patients."""
    return FreshPatients(**{f.name: getattr(dataset, f.name) for f in fields(dataset)}, simulator=simulator)
