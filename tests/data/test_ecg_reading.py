from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyjepa.data.ecg import reading
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.wfdb import records
from anyjepa.data.ecg.wfdb.header import read_header
from anyjepa.errors import DataWarning, InputError


def write_wfdb(path: Path, seed: int = 0, leads: tuple[str, ...] = ("II", "V1")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-500, 500, (600, len(leads))).astype("<i2")
    samples.tofile(path.with_suffix(".dat"))
    lines = [f"{path.stem}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in leads]
    path.with_suffix(".hea").write_text("\n".join([f"{path.stem} {len(leads)} 500 600", *lines]))


def test_a_folder_is_searched_in_depth_and_ids_are_relative_to_it(tmp_path: Path) -> None:
    for name in ("b/2", "a/1", "a/deep/3"):
        write_wfdb(tmp_path / "set" / name)
    found = read(tmp_path / "set")
    assert [r.id for r in found.recordings] == ["a/1", "a/deep/3", "b/2"]
    assert {r.source for r in found.recordings} == {"set"}
    assert found.skipped == {}
    assert [r.id for r in read([tmp_path / "set" / "b" / "2.hea", str(tmp_path / "set" / "a")]).recordings] == [
        "2", "1", "deep/3",
    ]  # fmt: skip


def test_a_signal_file_may_lie_in_a_folder_below_its_header(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "set" / "1")
    expected = read(tmp_path / "set").recordings[0].signal
    (tmp_path / "set" / "signals").mkdir()
    (tmp_path / "set" / "1.dat").rename(tmp_path / "set" / "signals" / "1.dat")
    header = tmp_path / "set" / "1.hea"
    header.write_text(header.read_text().replace("1.dat", "signals/1.dat"))
    (found,) = read(tmp_path / "set").recordings
    np.testing.assert_array_equal(found.signal, expected)


def test_tables_beside_headers_are_no_records(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "1")
    (tmp_path / "labels.csv").write_text("id,label\n1,x\n")
    assert [r.id for r in read(tmp_path).recordings] == ["1"]


def test_what_is_not_read_beside_headers_is_named(tmp_path: Path) -> None:
    """Signal and annotation files belong to headers; other records, in whatever format, do not."""
    write_wfdb(tmp_path / "1")
    write_wfdb(tmp_path / "deep" / "2")
    (tmp_path / "deep" / "2.hea").rename(tmp_path / "deep" / "2.HEA")
    header = (tmp_path / "1.hea").read_text()
    (tmp_path / "1.hea").write_text(header.replace("1.dat", "other.sig"))
    (tmp_path / "1.dat").rename(tmp_path / "other.sig")
    for name in (
        "1.atr",
        "1.qrs",
        "RECORDS",
        "3.dat",
        "3.mat",
        "4.edf",
        "5.npz",
        "6.csv",
        "labels.csv",
        f"{tmp_path.name}.csv",
    ):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(DataWarning) as warned:
        found = read(tmp_path)
    assert [r.id for r in found.recordings] == ["1", "deep/2"]
    (line,) = found.remarks
    assert [str(w.message) for w in warned if "not read" in str(w.message)] == [line]
    head, endings = line.split(" are not read: ")
    assert head == f"{tmp_path}: 5 files"
    assert sorted(endings.split(", ")) == ["1 .csv", "1 .dat", "1 .edf", "1 .mat", "1 .npz"]


def test_folders_of_a_split_are_its_parts(tmp_path: Path) -> None:
    for place in ("Training/a/1", "dev/2", "test/3"):
        write_wfdb(tmp_path / place)
    found = read(tmp_path).recordings
    assert {r.id: r.split for r in found} == {"Training/a/1": "train", "dev/2": "validation", "test/3": "test"}
    assert [r.split for r in read(tmp_path / "test").recordings] == [None]
    write_wfdb(tmp_path / "more" / "4")
    with pytest.raises(InputError, match="more: is next to 'Training'"):
        read(tmp_path)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "store" / "big" / "1")
    write_wfdb(tmp_path / "set" / "own" / "2")
    (tmp_path / "set" / "big").symlink_to(tmp_path / "store" / "big")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "store" / "big")
    (tmp_path / "set" / "own" / "up").symlink_to("../..")
    with pytest.warns(DataWarning, match="2 links are not followed: big .*, own/up .to a parent folder"):
        assert [r.id for r in read(tmp_path / "set").recordings] == ["again/1", "own/2"]


def test_a_name_that_is_not_utf8_is_refused_or_skipped_and_shown_escaped(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "1")
    write_wfdb(tmp_path / "2")
    (tmp_path / "2.hea").rename(tmp_path / os.fsdecode(b"M\xfcller.hea"))
    (tmp_path / "2.dat").unlink()
    with pytest.raises(InputError, match=r"M\\udcfcller\.hea: its name contains bytes that are not UTF-8"):
        read(tmp_path)
    found = read(tmp_path, on_error="skip")
    assert [r.id for r in found.recordings] == ["1"]
    assert list(found.skipped) == [rf"{tmp_path}/M\udcfcller.hea"]
    store = prepare_store([tmp_path], tmp_path / "store", leads=("II", "V1"), on_error="skip")
    assert store.ids == ("1",)
    assert list(store.manifest.skipped) == [rf"{tmp_path}/M\udcfcller.hea"]


def test_arrays_and_tables_in_one_folder(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(0, 0.3, (2, 500))
    np.savez(tmp_path / "a.npz", signals=signal, fs=250, leads=["II", "V1"], unit="mV", ids=["one"])
    frame = pd.DataFrame({"II": signal[0], "V1": signal[1]})
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.to_parquet(tmp_path / "c.parquet")
    np.save(tmp_path / "d.npy", signal[None])
    found = read(tmp_path, fs=250, leads=["II", "V1"], unit="mV").recordings
    assert [r.id for r in found] == ["one", "b", "c", "0"]
    for recording in found[1:]:
        np.testing.assert_allclose(recording.signal, found[0].signal)


def test_a_part_of_a_multi_segment_record_is_no_record_of_its_own(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "part")
    (tmp_path / "whole.hea").write_text("whole/2 2 500 1200\npart 600\npart 600\n")
    assert [r.id for r in read(tmp_path).recordings] == ["whole"]


def test_a_bad_file_stops_or_is_skipped_and_listed(tmp_path: Path) -> None:
    write_wfdb(tmp_path / "1")
    (tmp_path / "2.hea").write_text("no header")
    with pytest.raises(InputError, match=r"2\.hea: is not a WFDB header"):
        read(tmp_path)
    found = read(tmp_path, on_error="skip")
    assert [r.id for r in found.recordings] == ["1"]
    assert list(found.skipped) == [str(tmp_path / "2.hea")]
    (tmp_path / "1.hea").unlink()
    with pytest.raises(InputError, match=r"no ECG could be read \(1 file skipped\); the first: .*2\.hea"):
        read(tmp_path, on_error="skip")


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no ECG"):
        read(tmp_path)
    with pytest.raises(InputError, match="there is no such file or folder"):
        read(tmp_path / "none")
    (tmp_path / "a.edf").write_text("")
    with pytest.raises(InputError, match=r"a\.edf: cannot read files that end in '\.edf'"):
        read(tmp_path / "a.edf")
    with pytest.raises(InputError, match="there are no paths"):
        read([])


def test_an_empty_path_is_not_the_current_folder() -> None:
    for paths in ("", ["records", ""]):
        with pytest.raises(InputError, match="a path is empty"):
            read(paths)


@pytest.mark.parametrize("suffix", reading.SUFFIXES)
def test_a_fifo_is_never_waited_for(tmp_path: Path, suffix: str) -> None:
    fifo = tmp_path / f"x{suffix}"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo):
        with pytest.raises(InputError, match=rf"x\{suffix}: is a FIFO; only regular files are read"):
            read(path)
    np.savez(tmp_path / "good.npz", signals=np.ones((1, 9)), fs=250, leads=["II"], unit="mV")
    if suffix != ".hea":  # a folder with headers is read for them alone
        found = read(tmp_path, on_error="skip", warn=False)
        assert (len(found.recordings), list(found.skipped)) == (1, [str(fifo)])


def test_headers_that_list_each_other_are_read_and_refused(tmp_path: Path) -> None:
    for name, segment in (("m", "n"), ("n", "m")):
        (tmp_path / f"{name}.hea").write_text(f"{name}/1 2 500 600\n{segment} 600\n")
    (tmp_path / "labels.csv").write_text("id,label\nm,x\n")
    with pytest.raises(InputError, match=r"m\.hea: segment 'n' has segments of its own"):
        read(tmp_path)


def test_the_same_id_from_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_wfdb(tmp_path / folder / "1")
    with pytest.raises(InputError, match=r"b/1\.hea: id '1' is also that of .*a/1\.hea; read their common folder"):
        read([tmp_path / "a", tmp_path / "b"])


def test_what_looks_wrong_is_warned_of_once(tmp_path: Path) -> None:
    for name in "123":
        write_wfdb(tmp_path / name, leads=("I", "II", "III"))
    with pytest.warns(DataWarning, match="3 records: leads contradict") as caught:
        found = read(tmp_path)
    assert len(caught) == 1
    assert [p.kind for p in found.problems] == ["einthoven"]
    assert read(tmp_path, warn=False).problems == found.problems


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "sources", "problems"),
    [
        ("ludb", {"ludb": 200}, ["einthoven", "normalised"]),
        ("chapman", {"chapman-shaoxing": 20, "ningbo": 66}, ["unit", "flat"]),
        ("cpsc2018", {"cpsc": 15}, []),
    ],
)
def test_real_folders_are_read_whole(test_data: Path, name: str, sources: dict, problems: list[str]) -> None:
    found = read(test_data / name, warn=False)
    assert {r.leads for r in found.recordings} == {LEADS}
    assert [p.kind for p in found.problems] == problems
    assert found.skipped == {}
    assert Counter(r.source for r in found.recordings) == sources
    assert all(r.statements for r in found.recordings)


@pytest.mark.realdata
def test_ludb_has_no_problem_if_its_unit_is_given(test_data: Path) -> None:
    assert read(test_data / "ludb", unit="uV", warn=False).problems == []


def test_a_header_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        write_wfdb(tmp_path / name, seed=ord(name))
    expected = [read(tmp_path / f"{name}.hea").recordings[0].signal for name in ("a", "b")]
    parsed = []
    for module in (reading, records):
        monkeypatch.setattr(module, "read_header", lambda path: parsed.append(path.name) or read_header(path))
    found = read(tmp_path).recordings
    assert sorted(parsed) == ["a.hea", "b.hea"]
    for recording, signal in zip(found, expected, strict=True):
        np.testing.assert_array_equal(recording.signal, signal)
