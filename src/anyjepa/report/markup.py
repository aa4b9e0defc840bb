"""Build HTML safely: plain text is escaped, and only `Html` is inserted unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from anyjepa.errors import printable

KEPT = "\n\u202f"  # line breaks of a recipe, and the thin spaces that `number` inserts


class Html(str):
    """Text that is already markup."""


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element. Children that are not `Html` are escaped.

    The attribute `class_` is written as `class`, and attributes that are None are omitted.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_shown(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Html:
    """Concatenate children. Those that are not `Html` are escaped."""
    return Html("".join(child if isinstance(child, Html) else _shown(child) for child in children))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: object = None) -> Html:
    """A table whose first column contains the names of the rows.

    On a phone each row is a card, whose cells begin with the names in `head`.
    """
    labels = [cell if isinstance(cell, str) and not isinstance(cell, Html) and cell else None for cell in head[1:]]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else Html(),
            tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
            tag(
                "tbody",
                *(tag("tr", tag("th", first, scope="row"), *map(_cell, rest, labels)) for first, *rest in rows),
            ),
        ),
        class_="scroll",
        tabindex=0,
    )


def _cell(content: object, label: str | None) -> Html:
    return tag("td", tag("span", content, class_="cell"), data_label=label)


def figure(picture: Html, caption: object, class_: str | None = None) -> Html:
    """A picture with its caption, which scrolls sideways on a narrow screen."""
    return tag("figure", tag("div", picture, class_="scroll"), tag("figcaption", caption), class_=class_)


def note(text: object) -> Html:
    """A paragraph about something that is missing or needs care."""
    return tag("p", text, class_="note")


def _shown(value: object) -> str:
    return escape(printable(str(value), keep=KEPT))


def number(value: object) -> str:
    """Format a number: four significant digits, thin spaces between thousands, and a dash if it is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if not math.isfinite(value):
        return "–"
    if isinstance(value, int) or 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"
