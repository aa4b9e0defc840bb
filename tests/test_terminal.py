"""Names from files reach a terminal as they are: no markup, no escape sequence, no turned text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from anyjepa.cli.output import echo
from anyjepa.terminal import as_text

HOSTILE = st.text(st.sampled_from("a[]/\\:\x1b\x9b\x07\r\u202e\u2066\u200b\udcff") | st.characters(), max_size=9)


def table(name: str) -> Table:
    shown = Table(name, title=name, caption=name)
    shown.add_column(Text(name))
    shown.add_row(name, Text(name))
    return shown


@pytest.mark.parametrize("name", ["[red]x", "[/]", "[/x]", "[bold]", ":smile:", "\\[red]", "[link=http://a]b[/link]"])
def test_markup_is_printed_as_it_is(name: str) -> None:
    text = as_text(table(name))
    assert text.count(name) == 6


def test_control_characters_are_spelt_out() -> None:
    text = as_text(table("a\x1b[31m\u202e\udcff"))
    assert text.count(r"\x1b[31m\u202e\udcff") >= 2  # a heading or caption may be broken into lines


@settings(deadline=None)
@given(name=HOSTILE)
def test_nothing_but_printable_characters_and_line_ends(name: str) -> None:
    text = as_text(table(name))
    assert text.replace("\n", "").isprintable()
    text.encode()


@settings(deadline=None)
@given(name=HOSTILE)
def test_an_echo_is_printable(name: str) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        echo(f"model: {name}\nreport: {name}")
    assert out.getvalue().replace("\n", "").isprintable()
