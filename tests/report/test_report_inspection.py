"""A data set on one page."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.report.inspection import write_inspection

SUMMARY = {
    "records": 40,
    "ids": ["a"],
    "duration_s": {"min": 5.0, "median": 10.0, "max": 30.0},
    "leads": {"I": 40, "II": 40},
    "amplitude_mv": {"I": {"mean": 0.1, "std": 0.2}, "II": {"mean": 0.3, "std": 0.4}},
    "classes": {"rhythm": {"AF": 10, "normal": 30}},
    "statements": {"164889003": 10, "<b>": 2},
    "statement_names": {"164889003": "atrial fibrillation"},
    "problems": [{"kind": "flat", "meaning": "leads are flat", "count": 2, "examples": ["x.hea: V1"]}],
    "skipped": {"<script>.hea": "is empty"},
}


def test_the_page_begins_with_what_is_wrong(tmp_path: Path) -> None:
    page = write_inspection(SUMMARY, "records", tmp_path / "page.html").read_text()
    body = page[page.index("<body>") :]
    assert body.index("1 kind of problem.") < body.index("flat (2): ") < body.index("5 to 30")
    assert "I, II (40 each)" in body
    assert '"text":["normal: 30","AF: 10"]' in body
    assert "atrial fibrillation: 10" in body
    assert '<th scope="row">&lt;script&gt;.hea</th>' in body


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an inspection is written as"):
        write_inspection(SUMMARY, "records", tmp_path / "page.txt")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**6) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
@settings(deadline=None, max_examples=40)
def test_any_summary_has_a_page(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    folder = tmp_path_factory.mktemp("page")
    assert write_inspection({**SUMMARY, **values}, "any", folder / "page.html").stat().st_size > 10_000
