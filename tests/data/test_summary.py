"""What `anyjepa data inspect` says of series and videos."""

from __future__ import annotations

import json
from pathlib import Path

from video_writing import write

SERIES = """@problemName Toy
@missing true
@dimensions 2
@classLabel true up down
@data
1,2,?,4:5,6,7,8:up
1,2:3,3:down
"""


def test_series_are_summarised(cli, tmp_path: Path) -> None:
    (tmp_path / "Toy_TRAIN.ts").write_text(SERIES)
    summary = json.loads(cli("data", "inspect", tmp_path / "Toy_TRAIN.ts", "--json").out)
    assert (summary["records"], summary["source"], summary["split"]) == (2, "Toy", {"train": 2})
    assert summary["channels"] == {"2": 2}
    assert summary["samples"] == {"shortest": 2, "median": 3, "longest": 4}
    assert summary["classes"] == {"down": {"train": 1}, "up": {"train": 1}}
    assert summary["problems"] == ["1 series have missing values", "1 series have a channel that never changes"]
    assert json.loads(cli("data", "inspect", tmp_path, "--json").out)["records"] == 2
    shown = cli("data", "inspect", tmp_path / "Toy_TRAIN.ts").out
    assert ["samples", "shortest", "(2),", "median", "(3),", "longest", "(4)"] in map(str.split, shown.splitlines())


def test_videos_are_summarised_and_broken_ones_named(cli, tmp_path: Path) -> None:
    for label, frames in (("jump", 6), ("run", 9)):
        (tmp_path / label).mkdir()
        write(tmp_path / label / "a.mp4", frames=frames)
    (tmp_path / "run" / "b.mp4").write_bytes(b"no video")
    summary = json.loads(cli("data", "inspect", tmp_path, "--json").out)
    assert (summary["records"], summary["sizes"]) == (2, {"64x48": 2})
    assert summary["frames"] == {"shortest": 6, "median": 7, "longest": 9}
    assert summary["classes"] == {"jump": {"all": 1}, "run": {"all": 1}}
    assert list(summary["skipped"]) == ["run/b.mp4"]
    assert "skipped: 1 file\n" in cli("data", "inspect", tmp_path).out
