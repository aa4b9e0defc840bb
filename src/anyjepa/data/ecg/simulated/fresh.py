"""Pretraining on an endless supply of simulated patients: a crop shows a new one, or one of the records."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, fresh_recording


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class FreshPatients(EcgDataset):
    """A data set of records with their statistics, a share of whose crops are of new simulated patients.

    The generator of a crop, which depends on the seed and the crop's position in the run, draws its patient.
    """

    records: EcgDataset
    simulator: SimulatorConfig
    share: float

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        if self.share < 1 and rng.random() >= self.share:
            return self.records.crop(index, rng)
        signal = self.preprocessing.prepare(fresh_recording(self.simulator, rng))
        start = int(rng.integers(signal.shape[1] - self.preprocessing.samples + 1))
        return self.mask_leads(signal[:, start : start + self.preprocessing.samples], rng), start

    @property
    def description(self) -> str:
        if self.share == 1:
            return "simulated patients, a new one in every crop"
        return f"{self.records.description}, and new simulated patients in {self.share:.3g} of the crops"

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
    """Convert a data set so that this share of its crops comes from new simulated patients."""
    values = {f.name: getattr(records, f.name) for f in fields(EcgDataset)}
    return FreshPatients(**values, records=records, simulator=simulator, share=share)
