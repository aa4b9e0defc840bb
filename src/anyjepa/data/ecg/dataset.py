"""Prepared ECGs in memory: whole records for evaluation, random crops for pretraining."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, OnError, absent_leads, derived_leads
from anyjepa.data.ecg.recording import Recording
from anyjepa.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class EcgDataset(Dataset):
    """`dataset[i]` is record i whole, (L, T_i) float32, standardised; groups are patients."""

    what: ClassVar[tuple[str, str]] = ("ECGs", "patients")

    signals: Sequence[np.ndarray]
    preprocessing: EcgPreprocessing
    statements: tuple[frozenset[str], ...]
    hide_leads: float = 0.0  # chance that a lead of a crop is masked though it is there

    @classmethod
    def from_recordings(
        cls,
        recordings: Iterable[Recording],
        preprocessing: EcgPreprocessing,
        *,
        short: Literal["skip", "raise"] = "skip",
        on_error: OnError = "raise",
    ) -> EcgDataset:
        """Prepare every recording. `skipped` names those left out and why.

        short: what to do with a record shorter than a crop, which is never padded.
        on_error: what to do with one that cannot be prepared (a missing lead, a lead without a valid sample).
        Raises InputError for an id given twice, and if nothing is left.
        """
        kept: list[Recording] = []
        signals: list[np.ndarray] = []
        seen: set[str] = set()
        skipped: dict[str, str] = {}
        for recording in recordings:
            if recording.id in seen:
                raise InputError(f"{recording.where}: id '{recording.id}' occurs twice; ids must be unique")
            seen.add(recording.id)
            try:
                signal = preprocessing.prepare(recording)
            except InputError as error:
                if on_error == "raise":
                    raise
                skipped[recording.id] = str(error)
                continue
            if signal.shape[1] < preprocessing.samples:
                skipped[recording.id] = _too_short(recording, preprocessing)
                if short == "raise":
                    raise InputError(skipped[recording.id])
                continue
            kept.append(recording)
            signals.append(signal)
        if not kept:
            reason = next(iter(skipped.values()), "none was given")
            raise InputError(f"no usable record among {len(seen)}: {reason}")
        return cls(
            ids=tuple(r.id for r in kept),
            groups=tuple(r.group for r in kept),
            groups_known=all(r.patient is not None for r in kept),
            signals=signals,
            preprocessing=preprocessing,
            statements=tuple(r.statements for r in kept),
            source=tuple(r.source for r in kept),
            skipped=skipped,
            notes={r.id: note for r in kept if (note := _note(r, preprocessing.leads))},
        )

    def __getitem__(self, index: int) -> np.ndarray:
        return self.signals[index]

    @property
    def longest(self) -> int:
        return max(signal.shape[1] for signal in self.signals)

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        drawn = [self.crop(index, rng) for index, rng in zip(indices, rngs, strict=True)]
        return np.stack([crop for crop, _ in drawn]), np.array([start for _, start in drawn])

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """A uniformly drawn part of record `index`: (L, preprocessing.samples) float32, and its first sample."""
        signal, samples = self.signals[index], self.preprocessing.samples
        start = int(rng.integers(signal.shape[1] - samples + 1))
        return self.mask_leads(signal[:, start : start + samples], rng), start

    def mask_leads(self, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The crop with each lead NaN by a chance of `hide_leads`; one that is there always stays."""
        there = np.flatnonzero(~np.isnan(crop[:, 0]))
        if not self.hide_leads or not len(there):
            return crop
        hidden = rng.random(len(crop)) < self.hide_leads
        hidden[rng.choice(there)] = False
        return np.where(hidden[:, None], np.float32(np.nan), crop)


def _too_short(recording: Recording, preprocessing: EcgPreprocessing) -> str:
    return f"{recording.where}: {recording.duration_s:g} s long, a crop needs {preprocessing.duration_s:g} s"


def _note(recording: Recording, leads: Sequence[str]) -> str:
    return leads_note(derived_leads(recording, leads), absent_leads(recording, leads))


def leads_note(derived: Sequence[str], absent: Sequence[str]) -> str:
    """What is to be known of a record's leads; '' for nothing."""
    computed, zero = ", ".join(derived), ", ".join(absent)
    parts = (computed and f"computed from other limb leads: {computed}", zero and f"missing: {zero}")
    return "; ".join(filter(None, parts))
