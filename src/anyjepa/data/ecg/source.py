"""Load the ECGs of a recipe, and prepare them for the encoder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyjepa import progress
from anyjepa.data.dataset import OnError
from anyjepa.data.ecg.arrays import from_arrays
from anyjepa.data.ecg.checks import added_up, problems_of, summed, warn_about
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import Aligned, EcgDataset, align_all
from anyjepa.data.ecg.preprocessing import IN_TRAINING, EcgPreprocessing, align, fit_statistics
from anyjepa.data.ecg.reading import distinct, find, nothing_read, outcome, read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.ecg.simulated.fresh import fresh_patients
from anyjepa.data.ecg.simulated.simulator import patient_split, simulate
from anyjepa.data.ecg.store_dataset import published_elsewhere, stored_set
from anyjepa.data.ecg.stores.store import Store, recognise, stores_in
from anyjepa.data.listing import tell
from anyjepa.data.records import Records
from anyjepa.data.samples import ArraySamples
from anyjepa.data.training_part import check_excluded
from anyjepa.data.workers import mapping
from anyjepa.errors import DataWarning, InputError

ENTRIES_AT_ONCE = 8  # files that a process reads at a time


class Selection(NamedTuple):
    """Recordings that are used, and reasons for skipping others, by file or id."""

    recordings: list[Recording]
    skipped: dict[str, str]


def training_data(config: EcgDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> EcgDataset:
    """Load the training records of a recipe. Without paths, those of the embedded data set.

    Stores stay on disk; other files are read into memory. exclude: ids to exclude. Raises InputError.
    """
    if config.simulated_share and not paths:
        raise InputError("data.simulated_share: there are no records to mix simulated patients with; pass --data")
    if stores := find_stores(config, paths):
        warn_about(added_up([problem for store in stores for problem in store.problems]))
        return with_simulated(config, stored_set(config, stores, exclude))
    dataset = training_set(config, without(find_recordings(config, paths, part="train"), exclude))
    if paths:
        return with_simulated(config, dataset)
    return fresh_patients(dataset, config.simulator) if config.simulator.fresh else dataset


def training_arrays(
    config: EcgDataConfig,
    records: Records,
    exclude: Sequence[str] = (),
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float = "mV",
) -> EcgDataset:
    """Prepare ECGs in memory, (leads, samples) each, for training; see `from_arrays`. Raises InputError."""
    if leads is None:
        raise InputError("leads: pass the names of the rows of each ECG, such as leads=['I', 'II', 'V1']")
    recordings = from_arrays(records.raw, fs=_rate(fs), leads=leads, unit=unit, ids=records.ids)
    return with_simulated(config, training_set(config, without(Selection(recordings, {}), exclude)))


def with_simulated(config: EcgDataConfig, records: EcgDataset) -> EcgDataset:
    """Give new simulated patients their share of the crops."""
    return fresh_patients(records, config.simulator, config.simulated_share) if config.simulated_share else records


def _rate(fs: float | None) -> float:
    if fs is None:
        raise InputError("fs: pass the sampling rate of the ECGs in Hz, such as fs=500")
    return fs


def evaluation_data(
    preprocessing: EcgPreprocessing,
    paths: Sequence[Path],
    config: EcgDataConfig | None = None,
    on_error: OnError = "raise",
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    workers: int = 0,
) -> EcgDataset:
    """Load all whole records as a model sees them, with labels. Without paths, those of the embedded data set.

    fs, leads, unit: as for `read`. workers: processes that read and prepare files; 0: this one. Raises InputError.
    """
    if not paths:
        simulator = (config or EcgDataConfig()).simulator
        parts = patient_split(simulator)
        recordings = [replace(r, split=parts[r.patient or ""]) for r in simulate(simulator)]
        return whole_records(preprocessing, recordings, on_error)
    skipped, remarks, outlines, problems = dict[str, str](), list[str](), list[Recording](), list[dict[str, str]]()
    aligned = Aligned([], [], {})
    entries = find(list(paths), fs=fs, leads=leads, unit=unit, remarks=remarks)
    with mapping(partial(outcome, then=partial(_prepared, preprocessing)), workers, ENTRIES_AT_ONCE) as read:
        for one in distinct(read(entries), on_error, skipped):
            outlines.append(one.recording)
            problems.append(one.problems)
            progress.tell(f"read {len(outlines):,} ECGs")
            if isinstance(one.signal, np.ndarray):
                aligned.signals.append(one.signal)
                aligned.recordings.append(one.recording)
            elif on_error == "raise":
                raise one.signal
            else:
                aligned.skipped[one.id] = str(one.signal)
    if not outlines:
        raise nothing_read(skipped)
    warn_about(summed(outlines, problems))
    tell(remarks, None)
    dataset = EcgDataset.from_aligned(aligned, preprocessing.model_copy(update={"samples": 1}))
    return replace(dataset, skipped=skipped | dataset.skipped)


class _Prepared(NamedTuple):
    recording: Recording  # without its samples
    problems: dict[str, str]
    signal: np.ndarray | InputError  # (L, T) float32 in mV at the model's rate, or the reason why there is none

    @property
    def id(self) -> str:
        return self.recording.id

    @property
    def where(self) -> str:
        return self.recording.where


def _prepared(preprocessing: EcgPreprocessing, recording: Recording) -> _Prepared:
    try:
        signal = preprocessing.align(recording)
    except InputError as error:
        signal = error
    return _Prepared(recording.outline(), problems_of(recording), signal)


def whole_records(
    preprocessing: EcgPreprocessing, recordings: Sequence[Recording], on_error: OnError = "raise"
) -> EcgDataset:
    """Prepare recordings of any length for a model. on_error: skip those that cannot be prepared, or raise."""
    anything = preprocessing.model_copy(update={"samples": 1})
    return EcgDataset.from_recordings(recordings, anything, on_error=on_error)


def prepare_arrays(
    preprocessing: EcgPreprocessing,
    raw: Any,
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float = "mV",
) -> ArraySamples:
    """Prepare raw ECGs for a model: (N, leads, samples), (leads, samples) or a list of those.

    fs: Hz. leads: names of the rows in any order, by default those of the model. unit: 'mV', 'uV', 'V' or mV per unit.
    Raises InputError for a missing lead or a wrong shape.
    """
    leads = preprocessing.leads if leads is None else leads
    recordings = from_arrays(raw, fs=_rate(fs), leads=leads, unit=unit)
    return ArraySamples(tuple(r.id for r in recordings), [preprocessing.prepare(r) for r in recordings])


def find_stores(config: EcgDataConfig, paths: Sequence[Path]) -> list[Store]:
    """The stores of the mixture if there is one, else those in `paths`; empty if these are other files."""
    if config.mixture:
        return _mixed(config.mixture, paths)
    stores = {path: stores_in(path) for path in paths}
    if any(stores.values()) and (other := next((path for path in stores if not stores[path]), None)):
        raise InputError(
            f"{other}: is not a store, unlike the other data; convert it with anyjepa data prepare {other} -o STORE"
        )
    return [Store(store) for folder in stores.values() for store in folder]


def _mixed(mixture: Mapping[str, float], paths: Sequence[Path]) -> list[Store]:
    if len(paths) != 1:
        raise InputError(f"data.mixture: data must be one folder, which contains the stores {', '.join(mixture)}")
    folders = [paths[0] / name for name in mixture]  # absolute paths are kept
    if missing := [path for path in folders if not recognise(path)]:
        names = ", ".join(path.name for path in missing)
        filtered = [f"{path.name} with --highpass-hz {hz:g}" for path in missing if (hz := _highpass(path))]
        raise InputError(
            f"{paths[0]}: data.mixture names stores that do not exist: {names}. Make each with: anyjepa data prepare "
            f"FOLDER -o {missing[0]}" + (f" ({', '.join(filtered)})" if filtered else "")
        )
    stores = [Store(path) for path in folders]
    for store in stores:
        if (needed := _highpass(store.path)) and store.manifest.settings.highpass_hz != needed:
            text = f"{store.path}: was prepared without --highpass-hz {needed:g}, with which it was published"
            warnings.warn(text, DataWarning, stacklevel=3)
    return stores


def _highpass(path: Path) -> float | None:
    """Cut-off in Hz of the filter that the published data set with this name needs before training."""
    return CATALOGUE[path.name].highpass_hz if path.name in CATALOGUE else None


def find_recordings(config: EcgDataConfig, paths: Sequence[Path], part: str | None = None) -> Selection:
    """The recordings in `paths`, or the embedded data set. part: only this part of a published split."""
    if not paths:
        parts = patient_split(config.simulator)
        simulated = simulate(config.simulator)
        return Selection([r for r in simulated if part is None or parts[r.patient or ""] == part], {})
    reading = read(list(paths), on_error=config.on_error, unit=config.unit)
    if part is None or config.part == "all":
        return Selection(reading.recordings, reading.skipped)
    kept = [r for r in reading.recordings if r.split in (None, part)]
    others = {r.id: published_elsewhere(r.where, r.split) for r in reading.recordings if r.split not in (None, part)}
    if not kept:
        raise InputError(f"no record is left to train on; the first: {next(iter(others.values()))}")
    return Selection(kept, reading.skipped | others)


def without(selection: Selection, exclude: Sequence[str]) -> Selection:
    """Exclude these ids. Raises InputError if one does not exist."""
    check_excluded(exclude, [r.id for r in selection.recordings])
    excluded = set(exclude)
    return selection._replace(recordings=[r for r in selection.recordings if r.id not in excluded])


def training_set(config: EcgDataConfig, selection: Selection) -> EcgDataset:
    """Pretraining data in memory, standardised with its own statistics. Raises InputError if settings need stores."""
    make = "convert the data with anyjepa data prepare"
    if config.mixture:
        raise InputError(f"data.mixture needs stores, but the data are files or arrays; {make}, or remove it")
    if config.standardise == "each":
        raise InputError(f"data.standardise=each needs stores, but the data are files or arrays; {make}, or remove it")
    prepare = partial(
        align,
        fs=config.fs,
        leads=config.leads,
        gaps=config.gaps,
        missing_leads=config.missing_leads,
        highpass_hz=config.highpass_hz,
        advice=IN_TRAINING,
    )
    aligned = align_all(selection.recordings, prepare, config.on_error)
    mean, std = fit_statistics(config.leads, aligned.signals)
    preprocessing = EcgPreprocessing(**config.inputs(), samples=config.size[0], mean=mean, std=std)
    dataset = EcgDataset.from_aligned(aligned, preprocessing, short=config.short)
    dataset.skipped.update(selection.skipped)
    by_time = config.sampling == "time"
    shares = np.array([signal.shape[1] for signal in dataset.signals], float) if by_time else None
    return replace(dataset, shares=shares, hide_leads=config.hide_leads)
