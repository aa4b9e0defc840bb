"""Markdown is plain English, one sentence per line; so are the texts and names of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from english import banned_turns, long_lines, participles, prose, prose_of_code, unfinished_lines, wide_cells

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_banned_turns_and_no_long_lines(page: Path) -> None:
    text = page.read_text()
    assert banned_turns(prose(text)) == []
    assert long_lines(text) == []
    assert unfinished_lines(text) == []
    assert wide_cells(text) == []


def test_texts_and_names_of_the_code_are_plain_english() -> None:
    problems = []
    for path in sorted((ROOT / "src/anyjepa").rglob("*.py")):
        source = path.read_text()
        turns = [*banned_turns(prose_of_code(source)), *(f"the name {name}" for name in participles(source))]
        problems += [f"{path.relative_to(ROOT)}: {turn}" for turn in turns]
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "is no WFDB header",
        "one row a record",
        "5 labels a class",
        "An interrupted download is gone on with",
        "takes 1/2.1 of the time",
        "judged on labels",
        "every key is told",
        "an AUROC of .85",
    ],
)
def test_banned_turns_are_found(text: str) -> None:
    assert banned_turns(text)


@pytest.mark.parametrize(
    "text",
    [
        "is not a WFDB header",
        "there is no such file",
        "one row per record",
        "0.85",
        "2.1 times faster",
        "is no longer read",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert banned_turns(text) == []


def test_code_and_links_are_not_prose() -> None:
    markdown = "See [a page](judging.md) and `judge`.\n```\nanyjepa judge\n```\n"
    assert banned_turns(prose(markdown)) == []
    assert long_lines(f"{'a ' * 101}\n| {'a ' * 101} |\n```\n{'a ' * 101}\n```\n") == ["a " * 101]
    assert wide_cells(f"| a | {'b ' * 61}|\n") == [f" {'b ' * 61}"]
    assert unfinished_lines("A sentence that stops\nin the middle.\nAnother one.\n") == ["A sentence that stops"]


def test_prose_and_names_of_code_are_found() -> None:
    source = '''
def told(given, path):
    """Judges a file."""
    found, self.known = f"{path}: one row a record {1:.3f}", 0  # is no file
    return path.known
'''
    assert len(banned_turns(prose_of_code(source))) == 3
    assert participles(source) == ["found", "given", "known", "told"]
