"""Some hundreds of damaged files, the same ones every time; and that the search would find what it looks for.

More, or other ones: `python tests/fuzz/run.py --help`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = {
    "ecg files": ["wfdb", "arrays", "tables", "dicom", "scp", "xml", "annotations"],
    "data sets": ["code15", "ptbxl", "store", "images", "cifar", "idx", "video", "series", "cells", "labels"],
    "models": ["recipes", "models", "runs", "foreign"],
}


def started(script: list[str], log: Path) -> dict[str, dict[str, int]]:
    """Counts of outcomes by reader, of a script that ends with the options of run.py."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, *script, "--log", str(log)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    failures = "\n".join(f"{line}" for line in lines if "outcome" in line)
    print(failures, done.stderr[-3000:])  # shown where the test fails
    return {line["reader"]: line["counts"] for line in lines if "counts" in line}


@pytest.mark.long
@pytest.mark.parametrize("group", GROUPS)
def test_damaged_files_are_read_or_refused_in_one_line(group: str, tmp_path: Path) -> None:
    chosen = [word for reader in GROUPS[group] for word in ("--reader", reader)]
    counts = started([str(HERE / "run.py"), *chosen, "--cases", "40"], tmp_path / "log")
    assert list(counts) == GROUPS[group]
    for reader, outcomes in counts.items():
        assert set(outcomes) <= {"read", "refused"}, (reader, outcomes)
        assert sum(outcomes.values()) == 40
        assert outcomes["refused"] > 0, reader


def test_every_reader_is_in_a_group() -> None:
    sys.path.insert(0, str(HERE))
    from readers import READERS

    assert sorted(reader for group in GROUPS.values() for reader in group) == sorted(READERS)


BAD = """
import contextlib, ctypes, os, pathlib, sys, tempfile, time, warnings
sys.path.insert(0, {here!r})
import run
from reader import Gaps, Reader
from readers import READERS
from anyjepa.errors import DataWarning, InputError

run.SECONDS, run.WAIT, run.import_everything = 1, 4, lambda: None
reads = []

def build(folder, data):
    for name in "ab":
        (folder / name).mkdir(parents=True)
        (folder / name / "x.txt").write_text("whole " * 20)

def reader(bad):
    def read(folder):
        if (folder / "x.txt").read_text(errors="replace") == "whole " * 20:
            return
        yield [1.0, {{"x": Gaps([1.0])}}]
        yield bad(folder)
    return Reader(build, read)

def refuse(folder):
    raise InputError("x: is wrong")

def memory(folder):
    try:
        bytes(5 * 2**30)
    except MemoryError:
        raise InputError("x: is too large") from None

def temporary(folder):
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        (pathlib.Path(inner) / "x").write_text("x")

def removed_in_folder(folder):
    with contextlib.suppress(FileNotFoundError):
        os.remove("missing", dir_fd=os.open({parent!r}, os.O_RDONLY))

READERS.clear()
READERS.update({{name: reader(bad) for name, bad in {{
    "fine": lambda folder: warnings.warn("odd", DataWarning),
    "gaps": lambda folder: Gaps([float("nan")]),
    "inside": lambda folder: (folder / "y").write_text("y"),
    "temporary": temporary,
    "refused": refuse,
    "traceback": lambda folder: [][1],
    "warning": lambda folder: warnings.warn("odd"),
    "nan": lambda folder: {{"x": [float("nan")]}},
    "infinite": lambda folder: Gaps([float("inf")]),
    "memory": memory,
    "busy": lambda folder: [0 for _ in iter(int, 1)],
    "asleep": lambda folder: time.sleep(60),
    "crash": lambda folder: ctypes.string_at(0),
    "exit": lambda folder: os._exit(0),
    "outside": lambda folder: pathlib.Path({outside!r}).write_text("x"),
    "removed": lambda folder: pathlib.Path({outside!r}).unlink(missing_ok=True),
    "removed in folder": removed_in_folder,
    "program": lambda folder: os.system("true"),
}}.items()}})
sys.exit(run.main())
"""


@pytest.mark.long
def test_every_kind_of_failure_is_found(tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text(BAD.format(here=str(HERE), outside=str(tmp_path / "outside"), parent=str(tmp_path)))
    found = started([str(script), "--cases", "3", "--keep", str(tmp_path / "kept")], tmp_path / "log")
    expected = {
        **dict.fromkeys(("fine", "gaps", "inside", "temporary"), "read"),
        **dict.fromkeys(("nan", "infinite"), "not finite"),
        **dict.fromkeys(("busy", "asleep"), "hang"),
        **dict.fromkeys(("crash", "exit"), "crash"),
        **dict.fromkeys(("outside", "removed", "removed in folder", "program"), "outside"),
        **{name: name for name in ("refused", "traceback", "warning", "memory")},
    }
    assert {name: max(counts, key=counts.__getitem__) for name, counts in found.items()} == expected
    assert (tmp_path / "kept" / "traceback-0-0").is_dir()
