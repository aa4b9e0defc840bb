from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from anyjepa.data.ecg.inspection import inspect, render


def as_text(found: dict) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(render(found))
    return console.export_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, fs, scale in (("a", 250, 1), ("b", 500, 1000)):
        signals = rng.normal(0, 0.3, (2, 2, 1000)) * scale
        signals[0, 1, :10] = np.nan
        np.savez(
            tmp_path / f"{name}.npz",
            signals=signals,
            fs=fs,
            leads=["II", "V1"],
            unit="mV",
            ids=[f"{name}0", f"{name}1"],
        )
    (tmp_path / "c.npz").write_bytes(b"not a zip")
    return tmp_path


def test_what_is_there_and_what_is_wrong(folder: Path) -> None:
    found = inspect(folder)
    assert found == json.loads(json.dumps(found))
    assert found["records"] == 4
    assert found["ids"] == ["a0", "a1", "b0", "b1"]
    assert found["patients"] is None
    assert found["fs_hz"] == {"250": 2, "500": 2}
    assert found["leads"] == {"II": 4, "V1": 4}
    assert found["duration_s"] == {"min": 2, "median": 3, "max": 4}
    assert found["invalid_samples"] == 20
    assert {p["kind"]: p["count"] for p in found["problems"]} == {"unit": 2, "gaps": 2}
    assert [Path(path).name for path in found["skipped"]] == ["c.npz"]


def test_amplitudes_are_those_of_the_samples(tmp_path: Path) -> None:
    signals = np.random.default_rng(0).normal(0.1, 0.3, (3, 1, 500)).astype(np.float32)
    np.savez(tmp_path / "a.npz", signals=signals, fs=250, leads=["V2"], unit="mV")
    amplitude = inspect(tmp_path)["amplitude_mv"]["V2"]
    assert amplitude["mean"] == pytest.approx(signals.mean(), rel=1e-5)
    assert amplitude["std"] == pytest.approx(signals.std(), rel=1e-5)
    assert 1.5 < amplitude["peak_to_peak"] < 2.2


def test_the_terminal_shows_it(folder: Path) -> None:
    text = as_text(inspect(folder))
    for expected in ("records", "250 (2)", "V1", "unit: 2 records", "about 1000 times too", "skipped: 1 file", "c.npz"):
        assert expected in text


def test_names_from_files_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_bytes(bytes(2 * 600))
    (tmp_path / "r.hea").write_text("r 1 500 600\nr.dat 16 1000/mV 16 0 0 0 0 [/red]\x1b[2J\n# Dx: [/]\x1b[31m\n")
    text = as_text(inspect(tmp_path))
    assert "\x1b" not in text
    assert r"[/red]\x1b[2J" in text
    assert r"[/]\x1b[31m" in text


def test_tasks_have_their_classes_and_counts(tmp_path: Path) -> None:
    """Bradycardia, tachycardia, and a record with both, which has no single rhythm."""
    for name, codes in (("a", "426177001"), ("b", "426177001"), ("c", "427084000"), ("d", "426177001,427084000")):
        (tmp_path / f"{name}.dat").write_bytes(bytes(2 * 600))
        (tmp_path / f"{name}.hea").write_text(f"{name} 1 500 600\n{name}.dat 16 1000/mV 16 0 0 0 0 II\n# Dx: {codes}\n")
    found = inspect(tmp_path)
    classes = {"sinus bradycardia": 2, "sinus tachycardia": 1}
    assert found["tasks"]["rhythm"] == {"records": 3, "classes": classes}
    assert found["tasks"]["challenge"]["records"] == 4
    text = " ".join(as_text(found).split())
    assert "tasks rhythm (3 records: sinus bradycardia 2, sinus tachycardia 1) challenge (4 records: " in text


@pytest.mark.realdata
def test_real_folders(test_data: Path) -> None:
    found = inspect([test_data / "chapman", test_data / "cpsc2018"])
    assert found["records"] == 101
    assert found["sources"] == {"ningbo": 66, "chapman-shaoxing": 20, "cpsc": 15}
    assert list(found["tasks"]) == ["rhythm", "challenge"]
    assert sum(found["tasks"]["rhythm"]["classes"].values()) == found["tasks"]["rhythm"]["records"] > 60
    assert "rhythm (" in as_text(found)
    assert found["statements"]["426177001"] == 25
    assert found["statement_names"]["426177001"] == "sinus bradycardia (SB)"
    assert "426177001 sinus bradycardia (SB)" in as_text(found)
    assert "JS23463" in as_text(found)
