"""Where a recipe's ECGs come from, and how they become what the encoder sees."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyjepa.data.ecg.checks import added_up, warn_about
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.ecg.simulated.simulator import patient_split, simulate
from anyjepa.data.ecg.store_dataset import published_elsewhere, stored_set
from anyjepa.data.ecg.stores.store import Store, recognise, stores_in
from anyjepa.data.ecg.tasks import tasks_of
from anyjepa.data.training_part import check_excluded
from anyjepa.errors import DataWarning, InputError


class Found(NamedTuple):
    """Recordings, and what was left out: file -> reason."""

    recordings: list[Recording]
    skipped: dict[str, str]


def training_data(
    config: EcgDataConfig, data: Sequence[Path] | Found, exclude: Sequence[str] = ()
) -> tuple[EcgDataset, tuple[str, ...]]:
    """What a recipe trains on, and the names of the tasks that its records know.

    Stores stay on disk; files are read into memory; without paths it is the embedded set's training part. exclude: ids
    to leave out. Raises InputError.
    """
    if not isinstance(data, Found) and (stores := find_stores(config, data)):
        warn_about(added_up([problem for store in stores for problem in store.problems]))
        return stored_set(config, stores, exclude), tasks_of([r for store in stores for r in store[:1000]])
    found = data if isinstance(data, Found) else find_recordings(config, data, part="train")
    found = without(found, exclude)
    return training_set(config, found), tasks_of(found.recordings)


def find_stores(config: EcgDataConfig, paths: Sequence[Path]) -> list[Store]:
    """The stores that the mixture names, else those that `paths` are or hold; none if they hold other files."""
    if config.mixture:
        return _mixed(config.mixture, paths)
    found = {path: stores_in(path) for path in paths}
    if any(found.values()) and (other := next((path for path in found if not found[path]), None)):
        raise InputError(
            f"{other}: is not a store, but other data are; make one: anyjepa data prepare {other} -o STORE"
        )
    return [Store(store) for stores in found.values() for store in stores]


def _mixed(mixture: Mapping[str, float], paths: Sequence[Path]) -> list[Store]:
    if len(paths) != 1:
        raise InputError(f"data.mixture: data must be one folder, which contains the stores {', '.join(mixture)}")
    wanted = [paths[0] / name for name in mixture]  # a name that is an absolute path stays one
    if missing := [path for path in wanted if not recognise(path)]:
        names = ", ".join(path.name for path in missing)
        filtered = [f"{path.name} with --highpass-hz {hz:g}" for path in missing if (hz := _highpass(path))]
        raise InputError(
            f"{paths[0]}: data.mixture needs stores that are not there: {names}. Make each by: anyjepa data prepare "
            f"FOLDER -o {missing[0]}" + (f" ({', '.join(filtered)})" if filtered else "")
        )
    stores = [Store(path) for path in wanted]
    for store in stores:
        if (needed := _highpass(store.path)) and store.manifest.settings.highpass_hz != needed:
            text = f"{store.path}: was prepared without --highpass-hz {needed:g}, with which it was published"
            warnings.warn(text, DataWarning, stacklevel=3)
    return stores


def _highpass(path: Path) -> float | None:
    """The filter that a published data set of this name needs before training, Hz."""
    return CATALOGUE[path.name].highpass_hz if path.name in CATALOGUE else None


def find_recordings(config: EcgDataConfig, paths: Sequence[Path], part: str | None = None) -> Found:
    """What `paths` hold; without paths the embedded set. part: of a set with a published split that part only."""
    if not paths:
        parts = patient_split(config.simulator)
        made = simulate(config.simulator)
        return Found([r for r in made if part is None or parts[r.patient or ""] == part], {})
    reading = read(list(paths), on_error=config.on_error, unit=config.unit)
    if part is None or config.part == "all":
        return Found(reading.recordings, reading.skipped)
    kept = [r for r in reading.recordings if r.split in (None, part)]
    others = {r.id: published_elsewhere(r.where, r.split) for r in reading.recordings if r.split not in (None, part)}
    if not kept:
        raise InputError(f"no record is left to train on; the first: {next(iter(others.values()))}")
    return Found(kept, reading.skipped | others)


def without(found: Found, exclude: Sequence[str]) -> Found:
    """Leave out these ids. InputError for one that is not there."""
    check_excluded(exclude, [r.id for r in found.recordings])
    unwanted = set(exclude)
    return found._replace(recordings=[r for r in found.recordings if r.id not in unwanted])


def training_set(config: EcgDataConfig, found: Found) -> EcgDataset:
    """Pretraining data in memory, standardised by statistics of its own. InputError for what only stores can do."""
    make = "make them by anyjepa data prepare"
    if config.mixture:
        raise InputError(f"data.mixture draws from stores, the data are files or arrays; {make}, or leave it out")
    if config.standardise == "each":
        raise InputError(f"data.standardise=each is for stores, the data are files or arrays; {make}, or leave it out")
    preprocessing = EcgPreprocessing.fit(
        found.recordings,
        fs=config.fs,
        leads=config.leads,
        duration_s=config.duration_s,
        clip=config.clip,
        gaps=config.gaps,
        missing_leads=config.missing_leads,
        highpass_hz=config.highpass_hz,
        on_error=config.on_error,
    ).model_copy(update={"absolute_time": config.absolute_time})
    dataset = EcgDataset.from_recordings(found.recordings, preprocessing, short=config.short, on_error=config.on_error)
    dataset.skipped.update(found.skipped)
    by_time = config.sampling == "time"
    shares = np.array([signal.shape[1] for signal in dataset.signals], float) if by_time else None
    return replace(dataset, shares=shares, hide_leads=config.hide_leads)
