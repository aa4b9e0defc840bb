"""Training data from stores, which are combined, drawn by weight, and standardised on demand."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset, leads_note
from anyjepa.data.ecg.preprocessing import (
    EcgPreprocessing,
    SourceConstants,
    constants,
    pooled,
    without_outliers,
)
from anyjepa.data.ecg.stores.store import Store
from anyjepa.data.ecg.tasks import tasks_of
from anyjepa.data.training_part import check_excluded
from anyjepa.errors import InputError


class Chosen(NamedTuple):
    """The records of a store that are used, and their share of the draws."""

    store: Store
    rows: np.ndarray  # (n,) indices in the store
    weight: float

    @property
    def lengths(self) -> np.ndarray:
        """Length of each record in samples, (n,)."""
        return self.store.lengths[self.rows]


class StoredSignals(Sequence[np.ndarray]):
    """Prepared signals of stores, read on demand: whole records with the constants of the model, crops with `own`.

    own: preprocessing of each store. sources: source of each record.
    """

    def __init__(
        self,
        parts: Sequence[Chosen],
        preprocessing: EcgPreprocessing,
        own: Sequence[EcgPreprocessing],
        sources: Sequence[str],
    ):
        self.stores, self.preprocessing, self.own = [part.store for part in parts], preprocessing, own
        self.sources = sources
        self.rows = np.concatenate([part.rows for part in parts])
        self.lengths = np.concatenate([part.lengths for part in parts])
        self.part = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        self.leads = [[part.store.leads.index(lead) for lead in preprocessing.leads] for part in parts]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        own = self.preprocessing.for_source(self.sources[index])
        return own.standardise(self._cut(index, 0, self.lengths[index]))

    def crop(self, index: int, start: int) -> np.ndarray:
        """A prepared crop, (L, samples) float32."""
        cut = self._cut(index, start, start + self.preprocessing.samples)
        return self.own[self.part[index]].standardise(cut)

    def _cut(self, index: int, start: int, stop: int) -> np.ndarray:
        part = self.part[index]
        return self.stores[part].signal(self.rows[index])[self.leads[part], start:stop]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StoredDataset(EcgDataset):
    """An `EcgDataset` on disk. Memory contains only the crops in use."""

    signals: StoredSignals
    task_names: tuple[str, ...]  # tasks of the first records; training does not read labels

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.task_names

    @property
    def longest(self) -> int:
        return int(self.signals.lengths.max())

    @property
    def lengths(self) -> np.ndarray:
        return self.signals.lengths

    def crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        start = int(rng.integers(self.signals.lengths[index] - self.preprocessing.samples + 1))
        return self.mask_leads(self.signals.crop(index, start), rng), start


def stored_set(config: EcgDataConfig, stores: Sequence[Store], exclude: Sequence[str] = ()) -> StoredDataset:
    """Pretraining data in stores, without the ids in `exclude`, read on demand.

    Raises InputError for a store that is damaged, or was prepared with other settings than the recipe needs.
    """
    ids = joined_ids(stores)
    check_excluded(exclude, [id for part in ids for id in part])
    skipped: dict[str, str] = {}
    rows = [_usable(config, store, names, set(exclude), skipped) for store, names in zip(stores, ids, strict=True)]
    parts = [Chosen(*part) for part in zip(stores, rows, _weights(config, stores, rows), strict=True) if len(part[1])]
    if len(parts) < (len(stores) if config.mixture else 1):
        empty = next(store.path for store, chosen in zip(stores, rows, strict=True) if not len(chosen))
        raise InputError(f"{empty}: no usable record: {next(iter(skipped.values()), 'all are excluded')}")
    for store in stores:
        store.verify()
    settings = config.inputs() | {"samples": config.size[0]}
    preprocessing, own = _fitted(parts, settings, config.standardise == "each")
    names = tuple(names[row] for names, chosen in zip(ids, rows, strict=True) for row in chosen)
    source, patient = tuple(map(sys.intern, _column(parts, "source"))), _column(parts, "patient")
    return StoredDataset(
        hide_leads=config.hide_leads,
        ids=names,
        groups=tuple(f"{s}/{p}" if p is not None else id for s, p, id in zip(source, patient, names, strict=True)),
        groups_known=None not in patient,
        signals=StoredSignals(parts, preprocessing, own, source),
        preprocessing=preprocessing,
        task_names=tasks_of([r for store in stores for r in store[:1000]]),
        source=source,
        skipped=skipped,
        notes={id: note for id, note in zip(names, _notes(parts, config.leads), strict=True) if note},
        checksums=tuple(text for store in stores for text in store.checksums),
        shares=_shares(config, parts),
    )


def published_elsewhere(where: str, part: str) -> str:
    """Reason for excluding a record of a published split from training."""
    return f"{where}: is in the {part} part of its source; data.part=all takes every part"


def _usable(
    config: EcgDataConfig, store: Store, ids: Sequence[str], exclude: set[str], skipped: dict[str, str]
) -> np.ndarray:
    """Rows of the records for training. Others are added to `skipped`, or raise InputError."""
    _check_settings(config, store)
    absent = np.isnan(store.mean[:, [store.leads.index(lead) for lead in config.leads]])
    lacking = np.asarray(absent.any(axis=1) if config.missing_leads == "refuse" else absent.all(axis=1))
    short = np.asarray(store.lengths) < config.size[0]
    included = np.array([id not in exclude for id in ids])
    split = store.column("split", np.arange(len(store)))
    elsewhere = np.array([config.part == "train" and part not in (None, "train") for part in split], bool)
    for row in np.flatnonzero(included & (elsewhere | lacking | short)).tolist():
        where = f"{store.path}: record '{store.ids[row]}'"
        if elsewhere[row]:
            skipped[ids[row]] = published_elsewhere(where, split[row])
            continue
        if lacking[row]:
            reason = f"{where}: lead '{config.leads[int(absent[row].argmax())]}' is missing"
        else:
            reason = f"{where}: {store.lengths[row] / config.fs:g} s long, a crop needs {config.duration_s:g} s"
        if (config.on_error if lacking[row] else config.short) == "raise":
            raise InputError(reason)
        skipped[ids[row]] = reason
    return np.flatnonzero(included & ~elsewhere & ~lacking & ~short)


def _check_settings(config: EcgDataConfig, store: Store) -> None:
    """Raise InputError unless the store has the settings that the recipe needs."""
    settings = store.manifest.settings
    if settings.fs != config.fs:
        raise InputError(
            f"{store.path}: has {settings.fs:g} Hz, but the recipe {config.fs:g} Hz; set data.fs={settings.fs:g}, or "
            f"prepare a store with --fs {config.fs:g}"
        )
    if settings.highpass_hz != config.highpass_hz and not config.mixture:
        raise InputError(
            f"{store.path}: was prepared with highpass_hz {settings.highpass_hz}, the recipe has {config.highpass_hz}; "
            "set data.highpass_hz to that of the store, or prepare the store again"
        )
    for lead in config.leads:
        if lead not in settings.leads:
            raise InputError(f"{store.path}: has no lead '{lead}'; it has {', '.join(settings.leads)}")
    if config.gaps == "refuse":
        raise InputError(f"{store.path}: gaps in a store are already filled; data.gaps=refuse needs the files")
    if config.unit is not None:
        raise InputError(f"{store.path}: a store contains mV; pass the unit to anyjepa data prepare, not as data.unit")


def _weights(config: EcgDataConfig, stores: Sequence[Store], rows: Sequence[np.ndarray]) -> list[float]:
    """Share of each store in the mixture, or else its share of the samples."""
    if config.mixture:
        return list(config.mixture.values())
    samples = [float(store.lengths[chosen].sum()) for store, chosen in zip(stores, rows, strict=True)]
    return [size / max(sum(samples), 1) for size in samples]


def _shares(config: EcgDataConfig, parts: Sequence[Chosen]) -> np.ndarray | None:
    """Probability of each record, (N,); None if all are equal."""
    if config.mixture is None and config.sampling == "record":
        return None
    sizes = [part.lengths if config.sampling == "time" else np.ones(len(part.rows)) for part in parts]
    if config.mixture is None:
        return np.concatenate(sizes) / sum(size.sum() for size in sizes)
    return np.concatenate([part.weight * size / size.sum() for part, size in zip(parts, sizes, strict=True)])


def _notes(parts: Sequence[Chosen], leads: Sequence[str]) -> Iterator[str]:
    """Notes on the leads of each record."""
    for part, places in zip(parts, ([part.store.leads.index(lead) for lead in leads] for part in parts), strict=True):
        absent = np.isnan(part.store.mean[part.rows][:, places])
        for derived, row in zip(part.store.column("derived", part.rows), absent, strict=True):
            lacking = [lead for lead, lacks in zip(leads, row, strict=True) if lacks]
            yield leads_note([lead for lead in leads if lead in derived], lacking)


def _column(parts: Sequence[Chosen], name: str) -> list[Any]:
    return [value for part in parts for value in part.store.column(name, part.rows)]


def joined_ids(stores: Sequence[Store]) -> list[tuple[str, ...]]:
    """Ids of each store. Ids that occur in several stores are prefixed with the name of the store: 'ptb/0'."""
    if len(stores) == 1:
        return [stores[0].ids]
    times = Counter(id for store in stores for id in store.ids)
    ids = [tuple(id if times[id] == 1 else f"{store.name}/{id}" for id in store.ids) for store in stores]
    for id, count in Counter(id for part in ids for id in part).items():
        if count > 1:
            raise InputError(f"id '{id}' is in several stores of the same name; rename one of {_names(stores)}")
    return ids


def _fitted(
    parts: Sequence[Chosen], settings: dict[str, Any], each: bool
) -> tuple[EcgPreprocessing, list[EcgPreprocessing]]:
    """Preprocessing with constants of all records, where stores count by weight, and the preprocessing of each store.

    each: use separate constants for each store. The common preprocessing includes constants and filters that differ
    from the common ones for sources that are in a single store.
    """
    moments = [_moments(part, settings["leads"]) for part in parts]
    samples = sum(part.lengths.sum() for part in parts)
    scale = np.array([[part.weight * samples / part.lengths.sum()] for part in parts])  # (stores, 1)
    count, mean, squares = (np.stack(column) for column in zip(*moments, strict=True))  # (stores, L)
    overall = pooled(scale * count, mean, scale * squares)
    by_store = [
        _constants(part, settings["leads"], own if each else overall) for part, own in zip(parts, moments, strict=True)
    ]
    mean, std = constants(settings["leads"], *overall)
    common = EcgPreprocessing(**settings, mean=mean, std=std)
    sources = [set(part.store.column("source", part.rows)) for part in parts]
    times = Counter(source for names in sources for source in names)
    usual = SourceConstants(mean=mean, std=std, highpass_hz=common.highpass_hz)
    per_source = {
        source: own
        for own, names in zip(by_store, sources, strict=True)
        for source in sorted(names)
        if own != usual and times[source] == 1
    }
    own = [common.model_copy(update=dict(values)) for values in by_store]
    return common.model_copy(update={"per_source": per_source}), own


def _constants(
    part: Chosen, leads: Sequence[str], moments: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> SourceConstants:
    mean, std = constants(leads, *moments)
    return SourceConstants(mean=mean, std=std, highpass_hz=part.store.manifest.settings.highpass_hz)


def _moments(part: Chosen, leads: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of samples, mean and squared deviations of each of `leads` over the chosen records."""
    columns = [part.store.leads.index(lead) for lead in leads]
    mean, squares = (values[part.rows][:, columns] for values in (part.store.mean, part.store.squares))
    count = part.lengths[:, None]
    return pooled(count, without_outliers(leads, count, mean, squares), squares)


def _names(stores: Sequence[Store]) -> str:
    return ", ".join(str(store.path) for store in stores)
