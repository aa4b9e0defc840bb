"""Pictures of records are named after them."""

from __future__ import annotations

from pathlib import Path

from anyjepa.runs.explain import picture_paths


def test_the_ending_of_a_record_is_not_part_of_the_name() -> None:
    assert picture_paths(Path("x"), ["a.JPG", "b.mp4", "c.png", "d1.5"]) == [
        Path(f"x/{name}.png") for name in ("a", "b", "c", "d1.5")
    ]
    assert picture_paths(Path("x"), ["a.jpg", "a.png"]) == [Path("x/00001-a.png"), Path("x/00002-a.png")]
