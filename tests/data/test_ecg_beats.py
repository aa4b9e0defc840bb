"""MIT-BIH: records, annotations, and beats as samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wfdb_writing import write_annotations, write_record

from anyjepa.data.ecg.beats import beat_table
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.mitbih import DS1, DS2, PACED, RECORDS
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.errors import InputError

SAMPLES = 3600  # 10 s
BEATS = ((20, "N"), (400, "+"), (720, "V"), (1500, "A"), (2000, "/"), (2600, "F"), (3590, "L"))


@pytest.fixture
def mitdb(tmp_path: Path) -> Path:
    """Records 101 and 201 of DS1, 100 and 202 of DS2, paced 102; each beat a spike in lead II."""
    leads_of = {"100": "MLII V5", "101": "MLII V1", "102": "V5 V2", "201": "V1 MLII", "202": "MLII V1"}
    for name, leads in ((name, leads.split()) for name, leads in leads_of.items()):
        signal = np.zeros((2, SAMPLES))
        signal[leads.index("MLII") if "MLII" in leads else 0, [sample for sample, _ in BEATS]] = 1
        signal[:, ::7] += 0.01
        write_record(tmp_path / name, signal, 360, leads, ["68 M 1960 2851 x1"])
        write_annotations(tmp_path / f"{name}.atr", *zip(*BEATS, strict=True))
    return tmp_path


def prepared(recordings: list[Recording], fs: float = 360) -> EcgDataset:
    whole = EcgPreprocessing(fs=fs, leads=("II",), samples=1, mean=(0,), std=(1,))
    return EcgDataset.from_recordings(recordings, whole, on_error="skip")


def test_records_know_their_person_and_their_part(mitdb: Path) -> None:
    found = {r.id: r for r in read(mitdb, warn=False).recordings}
    assert list(found) == [f"mit-bih/{name}" for name in ("100", "101", "102", "201", "202")]
    assert [r.split for r in found.values()] == ["test", "train", None, "train", "test"]
    assert found["mit-bih/202"].group == found["mit-bih/201"].group
    assert len({r.group for r in found.values()}) == 4
    assert found["mit-bih/201"].leads == ("V1", "II")
    assert (found["mit-bih/100"].age, found["mit-bih/100"].sex, found["mit-bih/100"].source) == (68, "M", "mit-bih")
    marks = found["mit-bih/100"].annotations
    assert marks is not None
    assert list(zip(marks.samples.tolist(), marks.symbols, strict=True)) == list(BEATS)


def test_nobody_trains_who_is_tested(mitdb: Path) -> None:
    records = read(mitdb, warn=False).recordings
    assert tasks_of(records) == ("beats", "beats-published")
    table = task_table(records, "beats")
    assert {id.split("@")[0] for id in table.ids} == {"mit-bih/100", "mit-bih/101", "mit-bih/202"}
    assert table.counts() == {"N": 6, "S": 3, "V": 3, "F": 3, "Q": 3}
    assert table.exclusive
    assert table.split is not None
    assert set(zip(table.groups, table.split, strict=True)) == {
        ("mit-bih/100", "test"), ("mit-bih/101", "train"), ("mit-bih/201", "test"),
    }  # fmt: skip
    published = task_table(records, "beats-published")
    assert {id.split("@")[0] for id in published.ids} == {f"mit-bih/{name}" for name in ("100", "101", "201", "202")}
    assert "mit-bih/201" in published.groups


def test_a_window_has_its_beat_in_the_middle_and_none_is_lost_at_the_ends(mitdb: Path) -> None:
    records = read(mitdb, warn=False).recordings
    dataset = prepared(records)
    windows = dataset.beats(duration_s=0.5)
    table = task_table(records, "beats")
    assert set(table.ids) < set(windows.ids)
    assert {window.shape for window in windows.signals} == {(1, 180)}
    for id, window in zip(windows.ids, windows.signals, strict=True):
        beat = int(id.split("@")[1])
        place = 90 if 90 <= beat <= SAMPLES - 90 else beat if beat < 90 else 180 - (SAMPLES - beat)
        assert int(window[0].argmax()) == place
    assert all(any(np.shares_memory(w, s) for s in dataset.signals) for w in windows.signals[:3])
    resampled = prepared(records, fs=500).beats(duration_s=1)
    assert {window.shape for window in resampled.signals} == {(1, 500)}
    assert int(resampled.signals[1][0].argmax()) == 250
    with pytest.raises(InputError, match="10 s long, a beat needs 60 s"):
        dataset.beats(duration_s=60)


def test_records_without_a_published_part_need_no_split() -> None:
    from anyjepa.data.ecg.recording import Annotations

    marks = Annotations(np.array([5, 8]), ("N", "V"))
    record = Recording("r", np.zeros((1, 10)), 100, ("II",), patient="p", annotations=marks)
    table = beat_table([record], "beats")
    assert (table.split, table.ids) == (None, ("r@5", "r@8"))
    with pytest.raises(InputError, match="task 'beats': no record has annotated beats"):
        beat_table([Recording("r", np.zeros((1, 10)), 100, ("II",))], "beats")


def copy_annotations(folder: Path) -> None:
    write_annotations(folder / "100.atr", [5, SAMPLES + 10], ["N", "N"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "100.atr").unlink(),
            "100.atr: there is no such file; it must hold the annotations of record 100",
        ),
        (
            lambda folder: (folder / "100.atr").write_bytes(b""),
            "100.atr: (is not an annotation file|has no annotation)",
        ),
        (
            copy_annotations,
            "100.atr: annotates samples 5 to 3610, but the record has 3600; it belongs to another",
        ),
        (
            lambda folder: (folder / "100.atr").write_text("Dear reader, this is prose."),
            r"100.atr: (is not|has no|ann)",
        ),
        (
            lambda folder: write_record(folder / "extra", np.ones((1, 9)), 360, ["II"]),
            "extra.hea: is not one of the 48",
        ),
    ],
)
def test_broken_annotations(mitdb: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(mitdb)
    with pytest.raises(InputError, match=message) as caught:
        read(mitdb)
    assert "\n" not in str(caught.value)


def test_records_called_100_at_another_rate_are_not_mit_bihs(tmp_path: Path) -> None:
    write_record(tmp_path / "100", np.ones((2, 500)), 128, ["II", "V1"])
    assert [r.source for r in read(tmp_path, warn=False).recordings] == [tmp_path.name]


@pytest.mark.realdata
def test_real_beats(test_data: Path) -> None:
    """All 48 records; counts of de Chazal's two sets."""
    records = read(test_data / "mitdb", warn=False).recordings
    assert [r.id for r in records] == [f"mit-bih/{name}" for name in RECORDS]
    assert len(records) == len({*DS1, *DS2, *PACED}) == 48
    assert len({r.group for r in records}) == 47
    assert sum("II" in r.leads for r in records) == 46
    published = task_table(records, "beats-published")
    counts = {
        part: published.rows(np.flatnonzero(np.array(published.split) == part)).counts() for part in ("train", "test")
    }
    assert counts["train"] == {"N": 45866, "S": 944, "V": 3788, "F": 415, "Q": 8}
    assert counts["test"] == {"N": 44259, "S": 1837, "V": 3221, "F": 388, "Q": 7}
    table = task_table(records, "beats")
    assert len(published) - len(table) == sum(id.startswith("mit-bih/201@") for id in published.ids) == 1963
    dataset = prepared(records[:2], fs=250)
    windows = dataset.beats(duration_s=1)
    beats = [window[0] for window, id in zip(windows.signals, windows.ids, strict=True) if id.startswith("mit-bih/100")]
    mean = np.abs(np.mean(beats, axis=0))
    assert abs(int(mean.argmax()) - 125) <= 5  # the R wave
