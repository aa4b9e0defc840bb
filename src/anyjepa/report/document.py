"""A self-contained HTML document of sections, with its styles and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from anyjepa.report.markup import Html, join, tag


class Section(NamedTuple):
    """A part of the document under a heading. key: target of links to it. intro: a sentence below the heading."""

    key: str
    title: str
    intro: str
    content: Html


def document(title: str, top: Html, sections: Sequence[Section], footer: str, scripts: Sequence[str] = ()) -> str:
    """The document with the sections that have content, and links to them below `top`.

    scripts: names of further scripts of this package.
    """
    style, script, plotly, *more = map(_packaged, ("style.css", "page.js", "plotly-basic.min.js", *scripts))
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(style)),
        tag("script", Html(plotly)),
        tag("script", Html(script)),
        *(tag("script", Html(one)) for one in more),
    )
    return f"<!doctype html>\n{tag('html', head, body(top, sections, footer), lang='en')}\n"


def body(top: Html, sections: Sequence[Section], footer: str) -> Html:
    """The visible content of a document."""
    shown = [section for section in sections if section.content]
    links = tag("nav", *(tag("a", one.title, href=f"#{one.key}") for one in shown), aria_label="Sections")
    parts = [
        tag("section", tag("h2", one.title), tag("p", one.intro, class_="intro"), one.content, id=one.key)
        for one in shown
    ]
    return tag("body", tag("header", top, links), tag("main", join(parts)), tag("footer", footer))


def _packaged(name: str) -> str:
    return (files("anyjepa.report") / name).read_text(encoding="utf-8")
