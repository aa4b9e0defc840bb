"""Data set of prepared ECGs in memory: whole records for evaluation, random crops for pretraining."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.ecg import beats
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, absent_leads, derived_leads
from anyjepa.data.ecg.recording import Delineation, Recording
from anyjepa.data.ecg.tasks import TaskTables
from anyjepa.data.labels import LabelTable
from anyjepa.data.places import UNLABELLED, PlaceLabels
from anyjepa.errors import InputError
from anyjepa.progress import tell

WAVES = ("P", "QRS", "T")


class Aligned(NamedTuple):
    """Recordings at one rate, with the same leads."""

    recordings: list[Recording]  # without their own samples (`Recording.outline`)
    signals: list[np.ndarray]  # (L, T_i) float32 in mV
    skipped: dict[str, str]  # id of a skipped recording -> reason


def align_all(
    recordings: Iterable[Recording], align: Callable[[Recording], np.ndarray], on_error: OnError = "raise"
) -> Aligned:
    """Align every recording, one at a time. on_error: 'skip' skips those that `align` does not accept.

    Raises InputError for an id that occurs twice.
    """
    seen: set[str] = set()
    result = Aligned([], [], {})
    for recording in recordings:
        if recording.id in seen:
            raise InputError(f"{recording.where}: id '{recording.id}' occurs twice; ids must be unique")
        seen.add(recording.id)
        tell(f"read {len(seen):,} ECGs")
        try:
            result.signals.append(align(recording))
            result.recordings.append(recording.outline())
        except InputError as error:
            if on_error == "raise":
                raise
            result.skipped[recording.id] = str(error)
    return result


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class EcgDataset(Dataset):
    """`dataset[i]` is the whole record i, (L, T_i) float32, standardised. Groups are patients."""

    what: ClassVar[tuple[str, str]] = ("ECGs", "patients")
    group: ClassVar[str] = "patient"

    signals: Sequence[np.ndarray]
    preprocessing: EcgPreprocessing
    tables: TaskTables = field(default_factory=lambda: TaskTables(()))
    hide_leads: float = 0.0  # probability of masking a lead of a crop

    @classmethod
    def from_recordings(
        cls,
        recordings: Iterable[Recording],
        preprocessing: EcgPreprocessing,
        *,
        short: Literal["skip", "raise"] = "skip",
        on_error: OnError = "raise",
    ) -> EcgDataset:
        """Prepare every recording; `skipped` has the reasons for those that are not used.

        short: skip records shorter than a crop, or raise InputError; they are not padded. on_error: the same for
        records that cannot be prepared, such as those with a missing lead. Raises InputError for an id that occurs
        twice, and if no record is left.
        """
        return cls.from_aligned(align_all(recordings, preprocessing.align, on_error), preprocessing, short=short)

    @classmethod
    def from_aligned(
        cls, aligned: Aligned, preprocessing: EcgPreprocessing, *, short: Literal["skip", "raise"] = "skip"
    ) -> EcgDataset:
        """Like `from_recordings`, but empties the list of aligned signals, so that they are not in memory twice."""
        kept: list[Recording] = []
        signals: list[np.ndarray] = []
        skipped = dict(aligned.skipped)
        for place, recording in enumerate(aligned.recordings):
            signal, aligned.signals[place] = aligned.signals[place], np.empty((0, 0))
            if signal.shape[1] < preprocessing.samples:
                long = f"{signal.shape[1] / preprocessing.fs:g} s long, a crop needs {preprocessing.duration_s:g} s"
                skipped[recording.id] = f"{recording.where}: {long}"
                if short == "raise":
                    raise InputError(skipped[recording.id])
                continue
            kept.append(recording)
            signals.append(preprocessing.for_source(recording.source).standardise(signal))
        if not kept:
            raise InputError(
                f"no usable record among {len(aligned.recordings) + len(aligned.skipped)}: "
                f"{next(iter(skipped.values()), 'there is none')}"
            )
        return cls(
            ids=tuple(r.id for r in kept),
            groups=tuple(r.group for r in kept),
            groups_known=all(r.patient is not None for r in kept),
            signals=signals,
            preprocessing=preprocessing,
            tables=TaskTables(kept),
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
        """A random part of record `index`, (L, preprocessing.samples) float32, and its first sample."""
        signal, samples = self.signals[index], self.preprocessing.samples
        start = int(rng.integers(signal.shape[1] - samples + 1))
        return self.mask_leads(signal[:, start : start + samples], rng), start

    @property
    def known_groups(self) -> tuple[str, ...]:
        patients = {recording.id: recording.patient or "" for recording in self.tables.recordings}
        return tuple(patients[id] for id in self.ids)

    def for_task(self, task: str) -> tuple[EcgDataset, LabelTable]:
        """The data set and the labels for a task. Its samples are beats for tasks on beats, otherwise records."""
        table = self.tables[task]
        return (self.beats() if task in beats.TASKS else self), table

    def beats(self, duration_s: float = 2.0) -> EcgDataset:
        """One sample per annotated beat: the `duration_s` seconds around it, as views of the prepared signals.

        The beat is in the middle. At the ends of a record the window is shifted inwards, so that no beat is lost. Ids
        are those of `beat_table`. Raises InputError if a record is shorter than a window.
        """
        annotated = {r.id: r for r in self.tables.recordings if r.annotations}
        fs = self.preprocessing.fs
        length = round(duration_s * fs)
        ids, signals, places = [], [], []
        for place, (id, signal) in enumerate(zip(self.ids, self.signals, strict=True)):
            if (recording := annotated.get(id)) is None:
                continue
            if (samples := signal.shape[1]) < length:
                raise InputError(f"{recording.where}: {samples / fs:g} s long, a beat needs {duration_s:g} s")
            for sample, _ in beats.beats_of(recording):
                middle = round(sample / recording.fs * fs)
                start = min(max(middle - length // 2, 0), samples - length)
                ids.append(beats.beat_id(recording, sample))
                signals.append(signal[:, start : start + length])
                places.append(place)
        return replace(
            self,
            ids=tuple(ids),
            groups=tuple(self.groups[place] for place in places),
            signals=signals,
            source=tuple(self.source[place] for place in places),
        )

    @property
    def place_tasks(self) -> tuple[str, ...]:
        return ("waves",) if any(recording.waves for recording in self.tables.recordings) else ()

    def places(self, task: str) -> PlaceLabels:
        """The wave (P, QRS, T or none) at each sample of the records with annotated waves (LUDB: in lead II)."""
        if task not in self.place_tasks:
            return super().places(task)
        annotated = {r.id: r.waves() for r in self.tables.recordings if r.waves}
        signals = [(id, signal) for id, signal in zip(self.ids, self.signals, strict=True) if id in annotated]
        labels = [_per_sample(annotated[id], signal.shape[1], self.preprocessing.fs) for id, signal in signals]
        return PlaceLabels(tuple(id for id, _ in signals), ("none", *WAVES), labels, events=WAVES)

    def without_short(self, samples: int, on_error: OnError) -> EcgDataset:
        fs, where = self.preprocessing.fs, {r.id: r.where for r in self.tables.recordings}
        short = {
            id: f"{where[id]}: {signal.shape[1] / fs:g} s long, one token is {samples / fs:g} s"
            for id, signal in zip(self.ids, self.signals, strict=True)
            if signal.shape[1] < samples
        }
        if not short:
            return self
        kept = [place for place, id in enumerate(self.ids) if id not in short]
        if on_error == "raise" or not kept:
            raise InputError(next(iter(short.values())))
        return replace(
            self,
            ids=tuple(self.ids[place] for place in kept),
            groups=tuple(self.groups[place] for place in kept),
            signals=[self.signals[place] for place in kept],
            source=tuple(self.source[place] for place in kept),
            tables=TaskTables([r for r in self.tables.recordings if r.id not in short]),
            skipped=self.skipped | short,
        )

    def mask_leads(self, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Replace leads of the crop by NaN with probability `hide_leads`. At least one lead remains."""
        there = np.flatnonzero(~np.isnan(crop[:, 0]))
        if not self.hide_leads or not len(there):
            return crop
        hidden = rng.random(len(crop)) < self.hide_leads
        hidden[rng.choice(there)] = False
        return np.where(hidden[:, None], np.float32(np.nan), crop)


def _per_sample(waves: Delineation, samples: int, fs: float) -> np.ndarray:
    """Label each of T samples, (T,) int8: 0 for no wave, 1 + the index in `WAVES`, or UNLABELLED."""
    labels = np.full(samples, UNLABELLED, np.int8)
    labels[_samples(*waves.scope, fs)] = 0
    for name, onset, offset in zip(waves.names, waves.onsets, waves.offsets, strict=True):
        labels[_samples(onset, offset, fs)] = 1 + WAVES.index(name) if name else UNLABELLED
    return labels


def _samples(begin_s: float, end_s: float, fs: float) -> slice:
    """Slice of the samples from `begin_s` to `end_s`, in s."""
    return slice(max(0, ceil(begin_s * fs - 1e-6)), max(0, floor(end_s * fs + 1e-6) + 1))


def _note(recording: Recording, leads: Sequence[str]) -> str:
    return leads_note(derived_leads(recording, leads), absent_leads(recording, leads))


def leads_note(derived: Sequence[str], absent: Sequence[str]) -> str:
    """Note on computed and missing leads of a record; '' if there are none."""
    computed, zero = ", ".join(derived), ", ".join(absent)
    parts = (computed and f"computed from other limb leads: {computed}", zero and f"missing: {zero}")
    return "; ".join(filter(None, parts))
