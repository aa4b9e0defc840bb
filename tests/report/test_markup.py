"""Plain text is escaped wherever it enters."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.report.markup import Html, number, table, tag


@given(st.text())
@settings(deadline=None)
def test_no_text_opens_a_tag_or_leaves_an_attribute(text):
    written = tag("p", text, title=text)
    assert written.count("<") == written.count(">") == 2
    assert written.count('"') == 2 + Html(written[written.index(">") :]).count('"')


@given(st.text(st.sampled_from("a<&\x1b\x9b\u202e\u2066\u200b\udcff") | st.characters()))
@settings(deadline=None)
def test_text_is_shown_in_the_order_in_which_it_is_written(text):
    """No control character, no mark of direction, nothing invisible, and always UTF-8."""
    written = tag("p", text, title=text)
    assert written.replace("\n", "").replace("\u202f", "").isprintable()
    written.encode()


def test_markup_passes_and_attributes_are_named():
    assert tag("p", tag("b", "x"), "<", class_="a", aria_label="b", id=None) == (
        '<p class="a" aria-label="b"><b>x</b>&lt;</p>'
    )


def test_first_column_of_a_table_names_the_row():
    written = table(["class", "n"], [["<a>", 1]])
    assert '<th scope="row">&lt;a&gt;</th><td data-label="n"><span class="cell">1</span></td>' in written


def test_numbers_read_well():
    values = (0.12345, 0.9995, 0.0, 1e-5, 12345, 123456.7, 1e12, None, float("nan"), float("inf"), True, "x")
    assert [number(value) for value in values] == [
        "0.1235", "0.9995", "0", "1e-05", "12\u202f345", "123\u202f457", "1e+12", "–", "–", "–", "True", "x",
    ]  # fmt: skip
