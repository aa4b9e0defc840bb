"""metrics.csv: a kill loses nothing, a damaged file is one line, resuming keeps lines as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.training.logs import drop_rows_after, read_metrics

HEADER = "step,loss,student_std\r\n"
ROWS = [f"{step},{1 / step},{'0.5' if step % 2 else ''}\r\n" for step in range(1, 9)]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "metrics.csv"
    path.write_bytes(content)
    return path


def test_rows_have_numbers_and_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    path = written(tmp_path, (HEADER + "".join(ROWS[:2])).encode())
    assert read_metrics(path) == [{"step": 1, "loss": 1.0, "student_std": 0.5}, {"step": 2, "loss": 0.5}]
    assert read_metrics(tmp_path / "none") == []


@pytest.mark.parametrize("step", [0, 3, 8, 99])
def test_lines_that_stay_are_the_same_bytes(tmp_path: Path, step: int) -> None:
    path = written(tmp_path, (HEADER + "".join(ROWS) + "9,0.1").encode())  # the last one was being written
    names = drop_rows_after(path, step)
    kept = ROWS[: min(step, 8)]
    assert path.read_bytes() == ((HEADER + "".join(kept)).encode() if kept else b"")
    assert names == (["step", "loss", "student_std"] if kept else [])


def test_a_kill_while_rows_are_dropped_loses_none(tmp_path: Path) -> None:
    content = (HEADER + "".join(ROWS)).encode()
    path = written(tmp_path, content)
    code = (
        "import os, sys, pathlib; from anyjepa.training.logs import drop_rows_after\n"
        "os.replace = lambda *_: os._exit(9)\n"
        "drop_rows_after(pathlib.Path(sys.argv[1]), 3)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code, path], timeout=120).returncode == 9
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.encode() + b"1,2,3\r\n" + bytes(64) + b"\n", "line 3 is damaged (it has 1 values for 3 columns)"),
        (HEADER.encode() + b"x,2,3\r\n", "line 2 is damaged (step 'x' is not a number of steps)"),
        (
            HEADER.encode() + b"1" * 400 + b",2,3\r\n",
            "line 2 is damaged (step '1111111111111111' is not a number of st",
        ),
        (HEADER.encode() + b"1,two,3\r\n", "line 2 is damaged (could not convert"),
        (HEADER.encode() + b"2,2,3\r\n1,2,3\r\n", "line 3 is damaged (step 1 follows step 2)"),
        (HEADER.encode() + b"1,2,3\r\n\xff\n", "is not UTF-8 text"),
        (HEADER.replace("step", "stop").encode() + b"1,2,3\r\n", "the first line does not name the columns"),
    ],
)
def test_a_damaged_file_is_one_line_and_stays(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    for read in (read_metrics, lambda path: drop_rows_after(path, 1)):
        with pytest.raises(InputError) as raised:
            read(path)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
    assert path.read_bytes() == content


@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6), keep=st.floats(0, 1)
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_rows_or_one_line(tmp_path: Path, edits: list[tuple[float, int]], keep: float) -> None:
    content = bytearray((HEADER + "".join(ROWS)).encode())
    for place, value in edits:
        content[int(place * len(content))] = value
    path = written(tmp_path, bytes(content[: int(keep * len(content))]))
    try:
        steps = [row["step"] for row in read_metrics(path)]
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert steps == sorted(set(steps))
