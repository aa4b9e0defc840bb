"""A store gives what its files give, however it was made, and says what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists
from ptbxl_miniature import write_miniature

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.inspection import inspect
from anyjepa.data.ecg.leads import LEADS as ALL_LEADS
from anyjepa.data.ecg.prepare import writing
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.preprocessing import align, deviations, pooled
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Annotations, Recording
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.ecg.source import training_data
from anyjepa.data.ecg.stores.store import Store, checksum
from anyjepa.errors import DataWarning, InputError

LEADS = ("I", "II", "V1")


def write_records(
    folder: Path, count: int, fs: float = 250, samples: int = 700, leads: tuple[str, ...] = LEADS
) -> Path:
    """WFDB records of different lengths; the first lacks its first ten samples."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name, length = f"r{number}", samples + 7 * number
        values = np.random.default_rng(number).integers(-900, 900, (length, len(leads))).astype("<i2")
        if number == 0:
            values[:10] = -32768
        values.tofile(folder / f"{name}.dat")
        lines = [f"{name}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in leads]
        header = [
            f"{name} {len(leads)} {fs:g} {length}",
            *lines,
            f"#Age: {30 + number}",
            "#Sex: Female",
            "#Dx: 426783006",
        ]
        (folder / f"{name}.hea").write_text("\n".join(header) + "\n")
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ENTRIES_PER_SHARD", 2)


def contents(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in sorted(store.rglob("*")) if file.is_file()}


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("fs", [250, 100])
def test_a_store_reads_as_its_files_do(tmp_path: Path, fs: float) -> None:
    folder = write_records(tmp_path / "set", 5)
    store = prepare_store([folder], tmp_path / "store", fs=fs, leads=("V1", "II", "III"))
    files, stored = (read(path, warn=False).recordings for path in (folder, tmp_path / "store"))
    assert len(store.manifest.shards) == 3
    for file, record in zip(files, stored, strict=True):
        assert (record.fs, record.leads) == (fs, ("V1", "II", "III"))
        np.testing.assert_array_equal(record.signal, align(file, fs, record.leads))
        for fact in ("id", "patient", "statements", "source", "age", "sex", "group"):
            assert getattr(record, fact) == getattr(file, fact)
    assert store.facts(0)["derived"] == ["III"]
    assert not stored[0].signal.flags.writeable


def test_inspection_of_a_store(tmp_path: Path) -> None:
    prepare_store([write_records(tmp_path / "set", 3)], tmp_path / "store", leads=LEADS)
    found = inspect(tmp_path / "store")
    assert (found["records"], found["fs_hz"], list(found["leads"])) == (3, {"500": 3}, list(LEADS))
    assert found["amplitude_mv"]["I"]["std"] > 0


def test_statistics_are_those_of_all_samples(tmp_path: Path) -> None:
    store = prepare_store([write_records(tmp_path / "set", 4)], tmp_path / "store", fs=250, leads=LEADS)
    samples = np.concatenate([record.signal for record in store], axis=1, dtype=np.float64)
    for lead, row in zip(LEADS, samples, strict=True):
        facts = store.manifest.statistics[lead]
        assert facts.count == len(row)
        assert facts.mean == pytest.approx(row.mean(), rel=1e-12)
        assert facts.squares == pytest.approx(row.var() * len(row), rel=1e-12)


@given(sizes=lists(integers(1, 50), min_size=1, max_size=6), seed=integers(0, 99), offset=integers(-1000, 1000))
@settings(max_examples=50, deadline=None)
def test_pooled_moments_are_those_of_the_whole(sizes: list[int], seed: int, offset: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.normal(size=(2, size)) + offset).astype(np.float32) for size in sizes]
    moments = [deviations(part) for part in parts]
    mean, squares = (np.array(column) for column in zip(*moments, strict=True))
    mean[0, 1] = np.nan  # the first part lacks the second lead
    squares[0, 1] = np.nan
    count, overall, total = pooled(np.array(sizes)[:, None], mean, squares)
    whole = np.concatenate([part[0] for part in parts]).astype(np.float64)
    rest = np.concatenate([part[1] for part in parts[1:]] or [np.zeros(0)]).astype(np.float64)
    assert count.tolist() == [len(whole), len(rest)]
    np.testing.assert_allclose(overall[0], whole.mean(), rtol=1e-12)
    np.testing.assert_allclose(total[0], ((whole - whole.mean()) ** 2).sum(), rtol=1e-9, atol=1e-12)
    if len(rest):
        np.testing.assert_allclose(total[1], ((rest - rest.mean()) ** 2).sum(), rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("small_shards")
def test_processes_change_no_byte(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "set", 5)
    for name, workers in (("one", 1), ("two", 2)):
        prepare_store([folder], tmp_path / name, leads=LEADS, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


SLOW = """
import sys, time
from anyjepa.data.ecg.prepare import writing
writing.ENTRIES_PER_SHARD = 2
write, tell = writing._write_shard, writing._recordings
def halfway(*arguments):
    for number, recording in enumerate(tell(*arguments)):
        yield recording
        if recording.id == "r4":
            time.sleep(60)  # the parent kills this process here: two shards are whole, the third is half written
writing._recordings = halfway
writing.prepare_store([sys.argv[1]], sys.argv[2], leads=("I", "II", "V1"))
"""


@pytest.mark.usefixtures("small_shards")
def test_a_killed_preparation_goes_on_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = write_records(tmp_path / "set", 7), tmp_path / "store"
    prepare_store([folder], tmp_path / "unbroken", leads=LEADS)
    process = subprocess.Popen([sys.executable, "-c", SLOW, folder, output])
    parts = tmp_path / "store.part"
    while not list(parts.glob("store/shards/.anyjepa-*/000002.f32")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    written = count_shards(monkeypatch)
    prepare_store([folder], output, leads=LEADS)
    assert written == ["000002", "000003"]
    assert contents(output) == contents(tmp_path / "unbroken")
    assert not parts.exists()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no signal masks")
def test_a_signal_to_all_processes_ends_with_one_line(tmp_path: Path) -> None:
    """As from a terminal. The shards that are being written are finished, and no temporary file is left."""
    folder, output = write_records(tmp_path / "set", 300), tmp_path / "store"
    arguments = ["data", "prepare", folder, "-o", output, "--leads", ",".join(LEADS), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "anyjepa", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    parts = tmp_path / "store.part"
    while not list(parts.glob("store/shards/.anyjepa-*/*.f32")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    said = [line for line in errors.splitlines() if line.strip() and not line.lstrip().startswith("shards ")]
    assert (process.returncode, said) == (129, ["anyjepa: stopped by SIGHUP"])
    assert len(list(parts.glob("done/*.json"))) == len(list(parts.glob("store/shards/*.f32"))) > 0
    assert not list(parts.rglob(".anyjepa-*"))


def count_shards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The numbers of the shards that are written from now on."""
    written: list[str] = []
    write = writing._write_shard
    monkeypatch.setattr(writing, "_write_shard", lambda *a: (written.append(a[1][:6]), write(*a)))
    return written


@pytest.mark.usefixtures("small_shards")
def test_only_shards_of_these_files_and_settings_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = write_records(tmp_path / "set", 5), tmp_path / "store"
    whole = (folder / "r3.dat").read_bytes()
    (folder / "r3.dat").write_bytes(whole[:-2])  # in the second shard
    with pytest.raises(InputError, match=r"r3\.dat: .* truncated"):
        prepare_store([folder], output, leads=LEADS)
    written = count_shards(monkeypatch)
    with pytest.raises(InputError, match=r"r3\.dat: .* truncated"):
        prepare_store([folder], output, leads=LEADS)
    skipping = mock.patch.object(Path, "rename", side_effect=KeyboardInterrupt)
    with skipping, pytest.raises(KeyboardInterrupt):
        prepare_store([folder], output, leads=LEADS, on_error="skip")
    assert written == ["000001", "000001", "000002"]  # the first was kept throughout
    with pytest.raises(InputError, match=r"r3\.dat: .* truncated"):
        prepare_store([folder], output, leads=LEADS)
    (folder / "r3.dat").write_bytes(whole)
    (folder / "r4.hea").unlink()
    written.clear()
    with pytest.warns(DataWarning, match=r"set: 1 file is not read: 1 \.dat$") as warned:
        prepare_store([folder], output, leads=LEADS)
    assert len(warned) == 1
    assert written == ["000001"]
    (folder / "r4.dat").unlink()
    prepare_store([folder], tmp_path / "other", leads=LEADS)
    assert contents(output) == contents(tmp_path / "other")


def test_a_table_or_a_signal_that_changed_makes_its_shards_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ENTRIES_PER_SHARD", 1)
    rng = np.random.default_rng(0)
    records = [Recording(str(number), rng.normal(0, 0.2, (12, 1000)), 500, ALL_LEADS) for number in range(3)]
    folder, output = write_miniature(tmp_path / "ptb-xl", records, rates=(500,)), tmp_path / "store"
    written = count_shards(monkeypatch)

    def interrupted() -> list[str]:
        written.clear()
        with mock.patch.object(Path, "rename", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            prepare_store([folder], output)
        return list(written)

    assert interrupted() == ["000000", "000001", "000002"]
    assert interrupted() == []
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table.loc[1, "strat_fold"] = 10
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    assert interrupted() == ["000001"]
    (file,) = folder.rglob("00003_hr.dat")
    os.utime(file, (0, 0))
    assert interrupted() == ["000002"]
    monkeypatch.setattr(writing, "version", lambda _: "0.0.0")
    assert interrupted() == ["000000", "000001", "000002"]
    assert prepare_store([folder], output).facts(1)["split"] == "test"


@pytest.mark.parametrize("change", [{"fs": 250}, {"unit": "uV"}, {"leads": ("I",)}])
def test_other_settings_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    folder, output = write_records(tmp_path / "set", 2), tmp_path / "store"
    with mock.patch.object(Path, "rename", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        prepare_store([folder], output, leads=LEADS)
    settings = {"leads": LEADS, **change}
    prepare_store([folder], output, **settings)
    prepare_store([folder], tmp_path / "other", **settings)
    assert contents(output) == contents(tmp_path / "other")


MEMORY = """
import resource, sys
from anyjepa.data.ecg.prepare.writing import prepare_store
prepare_store([sys.argv[1]], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    samples, leads = 20_000, ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    peaks = []
    for times in (1, 4):
        folder = write_records(tmp_path / f"set{times}", 1, 500, samples, leads)
        header = (folder / "r0.hea").read_text()
        for number in range(1, 25 * times):  # 1 MB each, all from one file
            (folder / f"r{number}.hea").write_text(header)
        command = [sys.executable, "-c", MEMORY, folder, tmp_path / f"store{times}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert len(Store(tmp_path / "store4")) == 100
    assert peaks[1] - peaks[0] < 8_000  # kB; the data grew by 72,000


def test_what_cannot_be_prepared_is_refused_or_left_out_and_listed(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "set", 3)
    (folder / "r1.dat").write_bytes(b"")
    (folder / "r2.hea").write_text((folder / "r2.hea").read_text().replace(" V1", " V9"))
    with pytest.raises(InputError, match=r"r1\.dat: 3 leads of 707 samples"):
        prepare_store([folder], tmp_path / "store", leads=LEADS)
    store = prepare_store([folder], tmp_path / "skipping", leads=LEADS, on_error="skip")
    assert store.ids == ("r0",)
    assert list(store.manifest.skipped) == [str(folder / "r1.hea"), "r2"]
    assert "lead 'V1' is missing" in store.manifest.skipped["r2"]
    (folder / "r0.dat").write_bytes(b"")
    with pytest.raises(InputError, match=r"no ECG could be prepared \(3 skipped\); the first: .*r0"):
        prepare_store([folder], tmp_path / "empty", leads=LEADS, on_error="skip")


def test_a_lead_that_a_record_lacks_stays_unknown(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "set", 2)
    write_records(folder / "few", 1, leads=("I", "V1"))
    with pytest.raises(InputError, match=r"'II' is missing .* --on-error skip, or keep them with --missing-leads"):
        prepare_store([folder], tmp_path / "none", leads=LEADS)
    store = prepare_store([folder], tmp_path / "store", leads=LEADS, missing_leads="zero")
    assert store.ids == ("few/r0", "r0", "r1")
    assert store[0].leads == ("I", "V1")
    assert np.isnan(store.signal(0)[1]).all()
    assert store.manifest.statistics["II"].count < store.manifest.statistics["I"].count


def test_ids_are_unique_and_the_place_is_free(tmp_path: Path) -> None:
    one, two = write_records(tmp_path / "a", 1), write_records(tmp_path / "b", 1)
    with pytest.raises(InputError, match="id 'r0' occurs twice"):
        prepare_store([one, two], tmp_path / "store", leads=LEADS)
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken: already exists"):
        prepare_store([one], tmp_path / "taken")
    with pytest.raises(InputError, match="fs: the sampling rate is 5 Hz"):
        prepare_store([one], tmp_path / "store", fs=5)
    with pytest.raises(InputError, match="missing_leads must be 'refuse' or 'zero', got 'mask'"):
        prepare_store([one], tmp_path / "store", missing_leads="mask")
    with pytest.raises(InputError, match="highpass_hz must be greater than 0"):
        prepare_store([one], tmp_path / "store", highpass_hz=-1)
    with pytest.raises(InputError, match="leads: lead 'I' occurs twice"):
        prepare_store([one], tmp_path / "store", leads=("I", "i"))


def done_file(parts: Path) -> Path:
    return sorted(parts.glob("done/*"))[0]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda parts: done_file(parts).write_text(""),
        lambda parts: cut(done_file(parts)),
        lambda parts: flip(done_file(parts)),
        lambda parts: cut(parts / "store" / SHARD),
        lambda parts: flip(parts / "store" / SHARD),
        lambda parts: (parts / "store" / SHARD).unlink(),
    ],
)
def test_a_damaged_shard_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil) -> None:
    folder, output = write_records(tmp_path / "set", 3), tmp_path / "store"
    with mock.patch.object(Path, "rename", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        prepare_store([folder], output, leads=LEADS)
    spoil(tmp_path / "store.part")
    (tmp_path / "store.part" / "store" / "index.1.tmp").write_text("of a process that was killed")
    written = count_shards(monkeypatch)
    store = prepare_store([folder], output, leads=LEADS)
    assert written == ["000000"]
    store.verify()
    assert {file.name for file in output.iterdir()} == {"manifest.json", "index.parquet", "shards"}


def test_a_full_disk_is_told_and_gone_on_from(tmp_path: Path) -> None:
    folder, output = write_records(tmp_path / "set", 1), tmp_path / "store"
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        mock.patch("os.fsync", side_effect=full),
        pytest.raises(InputError, match=r"000000\.f32: cannot be written \(No space left"),
    ):
        prepare_store([folder], output, leads=LEADS)
    assert len(prepare_store([folder], output, leads=LEADS)) == 1


def test_a_folder_of_other_content_is_not_worked_in(tmp_path: Path) -> None:
    folder, mine = write_records(tmp_path / "set", 1), tmp_path / "store.part" / "done" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(InputError, match=r"store\.part: is needed as a working folder, but has other content"):
        prepare_store([folder], tmp_path / "store", leads=LEADS)
    assert mine.read_text() == "precious"
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="link: already exists"):
        prepare_store([folder], tmp_path / "link", leads=LEADS)
    assert not (tmp_path / "link.part").exists()


HOLD = """
import sys, time
from pathlib import Path
from anyjepa.data.ecg.prepare.work import Work
with Work(Path(sys.argv[1]), None).claimed():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_makes_a_store(tmp_path: Path) -> None:
    folder, output = write_records(tmp_path / "set", 1), tmp_path / "store"
    command = [sys.executable, "-c", HOLD, tmp_path / "store.part"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"store\.part: another process is writing it; wait until that finishes"):
            prepare_store([folder], output, leads=LEADS)
        other.kill()
    assert len(prepare_store([folder], output, leads=LEADS)) == 1


def test_a_pickled_store_leaves_its_maps_behind(tmp_path: Path) -> None:
    store = prepare_store([write_records(tmp_path / "set", 2, samples=50_000)], tmp_path / "store", leads=LEADS)
    first = np.array(store.signal(0))
    content = pickle.dumps(store)
    assert len(content) < 20_000
    np.testing.assert_array_equal(pickle.loads(content).signal(0), first)


def rewrite_manifest(store: Path, **changes: object) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | changes))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def shift_index(store: Path) -> None:
    rewrite_index(store, "offset", lambda offset: offset + 1)


def rewrite_index(store: Path, name: str, change: Callable[[Any], object], type: Any = None) -> None:
    """The column `name` with its values changed and its type, if none is given, kept."""
    table = pq.read_table(store / "index.parquet")
    values = pa.array([change(value) for value in table[name].to_pylist()], type or table[name].type)
    table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, store / "index.parquet")
    rewrite_checksum(store)


def rewrite_shard(store: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Other samples under the right checksum."""
    content = change(np.fromfile(store / SHARD, "<f4")).tobytes()
    (store / SHARD).write_bytes(content)
    (shard,) = json.loads((store / "manifest.json").read_text())["shards"]
    rewrite_manifest(store, shards=[shard | {"bytes": len(content), "checksum": checksum(content)}])


def other_encoding(store: Path) -> None:
    table = pq.read_table(store / "index.parquet")
    ids = pa.array([f"é{id}".encode("latin-1") for id in table["id"].to_pylist()], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(0, "id", ids), store / "index.parquet")
    rewrite_checksum(store)


def empty_index(store: Path) -> None:
    pq.write_table(pq.read_table(store / "index.parquet").slice(0, 0), store / "index.parquet")
    rewrite_checksum(store)


def drop_column(store: Path) -> None:
    pq.write_table(pq.read_table(store / "index.parquet").drop_columns("samples"), store / "index.parquet")
    rewrite_checksum(store)


def no_parquet(store: Path) -> None:
    (store / "index.parquet").write_text("id,patient\n")
    rewrite_checksum(store)


def as_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def rewrite_settings(store: Path, **changes: object) -> None:
    rewrite_manifest(store, settings=json.loads((store / "manifest.json").read_text())["settings"] | changes)


def rename_shard(store: Path, name: str) -> None:
    (shard,) = json.loads((store / "manifest.json").read_text())["shards"]
    rewrite_manifest(store, shards=[shard | {"file": name}])


def rewrite_checksum(store: Path) -> None:
    rewrite_manifest(store, index=checksum((store / "index.parquet").read_bytes()))


SHARD = "shards/000000.f32"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: cut(s / SHARD), r"000000\.f32: is damaged: it has \d+ bytes instead of \d+"),
        (lambda s: flip(s / SHARD), r"000000\.f32: is damaged: its checksum differs from manifest\.json"),
        (lambda s: (s / SHARD).unlink(), r"000000\.f32: there is no such file .*; prepare the store again"),
        (lambda s: flip(s / "index.parquet"), r"index\.parquet: is damaged: its checksum"),
        (lambda s: (s / "index.parquet").unlink(), r"index\.parquet: there is no such file .*; prepare"),
        (shift_index, r"index\.parquet: record 'r1' lies beyond the end of its shard"),
        (lambda s: (s / "manifest.json").unlink(), r"manifest\.json: there is no such file .*; prepare"),
        (lambda s: cut(s / "manifest.json"), r"manifest\.json: is not JSON .*; prepare the store again"),
        (lambda s: rewrite_manifest(s, version=2), r"manifest\.json: has version 2, but this anyjepa reads"),
        (lambda s: rewrite_manifest(s, kind="x"), r"manifest\.json: is not the manifest of a store"),
        (lambda s: rewrite_manifest(s, records=7), r"index\.parquet: does not match manifest\.json, which has 7"),
        (lambda s: rewrite_manifest(s, settings={}), r"manifest\.json: key 'settings\.fs' is missing"),
        (lambda s: rewrite_manifest(s, version=True), r"manifest\.json: version must be a whole number, not True"),
        (lambda s: rewrite_manifest(s, version=None), r"manifest\.json: version must be a whole number, not None"),
        (lambda s: (s / "manifest.json").write_text("[" * 10**6), r"manifest\.json: is not JSON"),
        (lambda s: as_fifo(s / "manifest.json"), r"manifest\.json: is a FIFO"),
        (lambda s: as_fifo(s / "index.parquet"), r"index\.parquet: is a FIFO"),
        (lambda s: rewrite_settings(s, fs=5), r"manifest\.json: settings\.fs must be at least"),
        (lambda s: rewrite_settings(s, fs=float("nan")), r"manifest\.json: settings\.fs must be"),
        (lambda s: rewrite_settings(s, fs=float("inf")), r"manifest\.json: settings\.fs must be"),
        (lambda s: rewrite_settings(s, leads=["I", "I", "V1"]), r"settings\.leads: lead 'I' occurs twice"),
        (lambda s: rename_shard(s, "../000000.f32"), r"manifest\.json: shards\[0\]\.file must be text that matches"),
        (lambda s: rename_shard(s, "/000000.f32"), r"manifest\.json: shards\[0\]\.file must be text that matches"),
        (lambda s: rename_shard(s, "0\0.f32"), r"manifest\.json: shards\[0\]\.file must be text that matches"),
        (no_parquet, r"index\.parquet: cannot be read as Parquet"),
        (drop_column, r"index\.parquet: is not an index of a store: it needs one column 'samples'"),
        (lambda s: rewrite_index(s, "samples", str, pa.string()), r"column 'samples' is string instead of int64"),
        (lambda s: rewrite_index(s, "samples", lambda _: None), r"column 'samples' has gaps"),
        (lambda s: rewrite_index(s, "samples", lambda _: 2**62), r"record 'r0' lies beyond the end of its shard"),
        (lambda s: rewrite_index(s, "split", lambda _: "dev"), r"split 'dev' is not one of train, validation, test"),
        (lambda s: rewrite_index(s, "likelihoods", lambda _: []), r"'statements' and 'likelihoods' differ in length"),
        (lambda s: rewrite_index(s, "marks", lambda _: [1]), r"'marks' and 'symbols' differ in length"),
        (lambda s: rewrite_index(s, "id", lambda _: "r0"), r"index\.parquet: .*: an id occurs twice"),
        (lambda s: rewrite_index(s, "mean", lambda m: [np.inf, *m[1:]]), r"'mean' has infinite values"),
        (lambda s: rewrite_index(s, "squares", lambda m: [*m[1:], np.inf]), r"'squares' has infinite values"),
        (lambda s: rewrite_index(s, "mean", lambda m: m[1:]), r"'mean' needs one value for each of 3 leads"),
        (lambda s: rewrite_index(s, "age", lambda _: np.inf), r"column 'age' has NaN or infinite values"),
        (lambda s: rewrite_index(s, "likelihoods", lambda _: [np.nan]), r"'likelihoods' has NaN or infinite values"),
        (other_encoding, r"index\.parquet: cannot be read as Parquet \(.*UTF8"),
        (empty_index, r"index\.parquet: is not an index of a store: it has no record"),
        (lambda s: rewrite_shard(s, lambda x: x.view("u1")[:-1]), r"000000\.f32: is damaged: it ends within a sample"),
        (lambda s: rewrite_shard(s, lambda x: np.where(x == x[0], np.inf, x)), r"'r0': lead 'I' has NaN or infinite"),
        (lambda s: rewrite_shard(s, lambda x: np.where(x == x[-1], np.nan, x)), r"'r1': lead 'V1' has NaN or infinite"),
    ],
)  # fmt: skip
def test_a_damaged_store_is_one_line(tmp_path: Path, spoil, message: str) -> None:
    prepare_store([write_records(tmp_path / "set", 2)], tmp_path / "store", leads=LEADS)
    spoil(tmp_path / "store")
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "store", warn=False)
    assert "\n" not in str(error.value)


def test_a_filtered_store_is_not_filtered_again(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "set", 1)
    store = prepare_store([folder], tmp_path / "store", leads=LEADS, highpass_hz=0.5)
    once = align(read(folder, warn=False).recordings[0], 500, LEADS, highpass_hz=0.5)
    np.testing.assert_array_equal(align(store[0], 500, LEADS, highpass_hz=0.5), once)


def test_what_is_suspicious_is_told_and_kept(tmp_path: Path) -> None:
    leads = ("I", "II", "III", "V1")
    folder = write_records(tmp_path / "set", 3, leads=leads)
    store = prepare_store([folder], tmp_path / "store", leads=leads)
    assert {problem.kind: problem.count for problem in store.problems} == {"einthoven": 3, "gaps": 1}
    config = EcgDataConfig(leads=leads, duration_s=1)
    with pytest.warns(DataWarning, match=r"(3 records: leads contradict III = II - I|1 record: leads have invalid)"):
        training_data(config, [tmp_path / "store"])


def test_everything_known_of_a_record_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(
        "x", np.random.default_rng(0).normal(size=(1, 300)), 100, ("I",), patient="7",
        statements=frozenset({"SR", "NORM"}), source="ptb-xl", age=61.5, sex="F", split="test",
        likelihoods={"NORM": 80.0}, annotations=Annotations(np.array([11, 200]), ("N", "V")),
    )  # fmt: skip
    monkeypatch.setattr(writing, "find", lambda *_, **__: iter([Entry("here", lambda: [recording])]))
    (kept,) = prepare_store([], tmp_path / "store", fs=200, leads=["I"])
    assert kept.annotations is not None
    assert (kept.annotations.samples.tolist(), kept.annotations.symbols) == ([22, 400], ("N", "V"))
    for field in fields(Recording):
        if field.name not in ("signal", "fs", "annotations", "file"):
            assert getattr(kept, field.name) == getattr(recording, field.name)


def test_a_store_has_its_unit(tmp_path: Path) -> None:
    prepare_store([write_records(tmp_path / "set", 1)], tmp_path / "store", leads=LEADS)
    with pytest.raises(
        InputError, match="is a store, and stores are in mV; pass the unit to 'anyjepa data prepare' instead"
    ):
        read(tmp_path / "store", unit="uV")


@pytest.mark.realdata
def test_real_records(test_data: Path, tmp_path: Path) -> None:
    folders = [test_data / "chapman", test_data / "cpsc2018"]
    store = prepare_store(folders, tmp_path / "store", workers=2, unit="uV")
    for record, file in zip(store, read(folders, unit="uV", warn=False).recordings, strict=True):
        assert isinstance(record, Recording)
        np.testing.assert_array_equal(record.signal, align(file, 500, store.leads))


def test_the_place_of_the_work_is_not_a_link(tmp_path: Path) -> None:
    folder, elsewhere = write_records(tmp_path / "set", 1), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "store.part").symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"store\.part: is a symbolic link; remove it"):
        prepare_store([folder], tmp_path / "store", leads=LEADS)
    assert not list(elsewhere.iterdir())
