from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.ecg import preprocessing, source
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, align, resample
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.source import Selection, training_set, whole_records
from anyjepa.errors import InputError

PREPROCESSING = EcgPreprocessing(fs=100, leads=("I", "II", "III"), samples=200, mean=(0, 0, 0), std=(1, 1, 1))


def recording(id: str, samples: int = 300, leads: tuple[str, ...] = ("I", "II", "III"), **facts: object) -> Recording:
    signal = np.random.default_rng(len(id)).normal(size=(len(leads), samples))
    return Recording(id, signal, 100, leads, **facts)


def test_whole_records_and_what_is_known_of_them() -> None:
    known = recording("a", patient="7", source="ludb", statements=frozenset({"Rhythm: Sinus rhythm"}))
    dataset = EcgDataset.from_recordings([known, recording("bb", 250)], PREPROCESSING)
    assert len(dataset) == 2
    assert dataset[1].shape == (3, 250)
    assert dataset[1].dtype == np.float32
    assert dataset.groups == ("ludb/7", "bb")
    assert not dataset.groups_known
    assert dataset.known_groups == ("7", "")
    assert dataset.tasks == ("rhythm", "lvh", "conduction")
    samples, table = dataset.for_task("rhythm")
    assert samples is dataset
    assert table.ids == ("a",)
    assert table.values.tolist() == [[1, 0, 0]]


def test_every_start_of_a_crop_is_equally_likely_and_reached() -> None:
    dataset = EcgDataset.from_recordings([recording("a", 203), recording("b", 200)], PREPROCESSING)
    rng = np.random.default_rng(0)
    starts = []
    for _ in range(400):
        crop, start = dataset.crop(0, rng)
        np.testing.assert_array_equal(crop, dataset[0][:, start : start + 200])
        starts.append(start)
    assert min(np.bincount(starts, minlength=4)) > 70
    assert dataset.crop(1, rng)[1] == 0


def test_short_records_are_skipped_by_name_or_refused() -> None:
    records = [recording("long"), recording("short", 199)]
    dataset = EcgDataset.from_recordings(records, PREPROCESSING)
    assert dataset.ids == ("long",)
    assert dataset.skipped == {"short": "record 'short': 1.99 s long, a crop needs 2 s"}
    with pytest.raises(InputError, match=r"1\.99 s long"):
        EcgDataset.from_recordings(records, PREPROCESSING, short="raise")
    with pytest.raises(InputError, match=r"no usable record among 1: record 'short': 1\.99 s"):
        EcgDataset.from_recordings(records[1:], PREPROCESSING)


def test_records_that_cannot_be_prepared_are_refused_or_skipped_by_name() -> None:
    records = [recording("good"), recording("bad", leads=("I", "V1"))]
    with pytest.raises(InputError, match="lead 'II' is missing"):
        EcgDataset.from_recordings(records, PREPROCESSING)
    dataset = EcgDataset.from_recordings(records, PREPROCESSING, on_error="skip")
    assert dataset.ids == ("good",)
    assert "lead 'II' is missing" in dataset.skipped["bad"]


def test_computed_and_zeroed_leads_are_noted() -> None:
    config = PREPROCESSING.model_copy(update={"missing_leads": "zero"})
    records = [recording("a"), recording("bb", leads=("I", "II")), recording("ccc", leads=("I",))]
    notes = EcgDataset.from_recordings(records, config).notes
    assert notes == {"bb": "computed from other limb leads: III", "ccc": "missing: II, III"}


def test_missing_and_hidden_leads_are_nan_for_an_encoder_that_is_told() -> None:
    config = PREPROCESSING.model_copy(update={"missing_leads": "mask"})
    dataset = EcgDataset.from_recordings([recording("a"), recording("b", leads=("I", "II"))], config)
    dataset = replace(dataset, hide_leads=0.6)
    rng = np.random.default_rng(0)
    hidden = np.array([np.isnan(dataset.crop(0, rng)[0]).all(1) for _ in range(300)])
    assert not hidden.all(1).any()
    assert set(hidden.sum(1)) == {0, 1, 2}
    assert not np.isnan(dataset[0]).any()
    nothing = np.full((3, 200), np.nan, np.float32)
    assert np.isnan(dataset.mask_leads(nothing, rng)).all()


def test_an_id_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="id 'a' occurs twice"):
        EcgDataset.from_recordings([recording("a"), recording("a")], PREPROCESSING)


def test_training_aligns_each_recording_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [recording("a", 300), recording("bb", 250), recording("short", 190)]
    calls = []
    monkeypatch.setattr(preprocessing, "resample", lambda *signal: calls.append(1) or resample(*signal))
    dataset = training_set(EcgDataConfig(fs=50, leads=("II", "I"), duration_s=2), Selection(records, {}))
    assert len(calls) == 3
    aligned = [align(record, 50, ("II", "I")) for record in records]
    samples = np.concatenate(aligned, axis=1).astype(np.float64)  # also of the short record, which has no crop
    assert dataset.preprocessing.mean == pytest.approx(samples.mean(axis=1))
    assert dataset.preprocessing.std == pytest.approx(samples.std(axis=1))
    assert dataset.ids == ("a", "bb")
    for index in range(2):
        np.testing.assert_array_equal(dataset[index], dataset.preprocessing.prepare(records[index]))


def test_records_shorter_than_a_token_are_skipped_or_refused() -> None:
    dataset = whole_records(PREPROCESSING, [recording("a", 300), recording("bb", 40)])
    assert dataset.without_short(40, "raise") is dataset
    with pytest.raises(InputError, match=r"record 'bb': 0\.4 s long, one token is 0\.5 s"):
        dataset.without_short(50, "raise")
    longer = dataset.without_short(50, "skip")
    assert longer.ids == longer.groups == ("a",)
    assert longer.skipped.keys() == {"bb"}
    with pytest.raises(InputError, match="one token is 4 s"):
        dataset.without_short(400, "skip")


def test_of_files_only_the_latest_records_are_in_memory_as_recorded(monkeypatch):
    made = [(r.id, r.signal) for r in simulate(SimulatorConfig(patients=6, fs=100, duration_s=5))]
    signals: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def read(id: str, signal: np.ndarray) -> list[Recording]:
        recording = Recording(id=id, signal=signal.copy(), fs=100, leads=LEADS)
        alive.append(sum(one() is not None for one in signals))
        signals.append(weakref.ref(recording.signal))
        return [recording]

    entries = [Entry(id, partial(read, id, signal)) for id, signal in made]
    monkeypatch.setattr(source, "find", lambda *_, **__: iter(entries))
    prepared_as = EcgPreprocessing(fs=50, samples=100, mean=(0.0,) * 12, std=(1.0,) * 12)
    dataset = source.evaluation_data(prepared_as, [Path("records")])
    assert len(dataset) == 6
    assert max(alive) <= 1
    assert not any(one() is not None for one in signals)
