"""Interactive charts: a figure for Plotly as JSON, which `page.js` draws in the colours of the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from anyjepa.errors import printable
from anyjepa.report.markup import Html, tag

# Colours are CSS variables of style.css. A series differs from the others in its marker or dash, too.
INK, MUTED = "var(--ink)", "var(--muted)"
SERIES = tuple(f"var(--series-{number})" for number in range(1, 9))
MARKERS = ("circle", "triangle-up", "square", "diamond", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot")

Trace = dict[str, Any]


def chart(
    alt: str, data: Sequence[Trace], layout: dict[str, Any], caption: object, height: int = 300, title: str = ""
) -> Html:
    """A figure that shows its values on hover and can be zoomed and filtered; without scripts it shows `alt`.

    data, layout: as in Plotly's reference, with colours as CSS variables. Text in them is escaped, except in
    hover templates, which must not contain text from files.
    """
    figure = _json({"data": list(data), "layout": layout | {"height": height}})
    return tag(
        "figure",
        tag("h4", title) if title else Html(),
        tag("div", tag("p", alt), class_="chart", role="group", aria_label=alt),
        tag("script", Html(figure), type="application/json"),
        tag("figcaption", caption),
    )


def line(name: str, x: Sequence[float | None], y: Sequence[float | None], place: int, **more: Any) -> Trace:
    """The `place`-th line of a chart."""
    alone = sum(value is not None and math.isfinite(value) for value in y) == 1
    drawn = {"color": SERIES[place % len(SERIES)], "dash": DASHES[place % len(DASHES)], "width": 2}
    return {
        "name": name, "x": x, "y": y, "line": drawn, "mode": "markers" if alone else "lines",
        "hovertemplate": "%{fullData.name}: <b>%{y:0.4g}</b><extra></extra>",
    } | more  # fmt: skip


def dots(alt: str, names: Sequence[str], rows: Mapping[str, Sequence[float]], label: str, caption: object) -> Html:
    """A chart with one row per name, the first at the top, and one marker per series.

    rows: name of a series -> one value per name. label: title of the value axis.
    """
    places = list(range(len(names)))
    data = [
        {
            "name": series, "x": values, "y": places, "mode": "markers", "marker": marker(place),
            "text": [f"{name}, {series}: {value:.3f}" for name, value in zip(names, values, strict=True)],
            "hovertemplate": "%{text}<extra></extra>",
        }
        for place, (series, values) in enumerate(rows.items())
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": label}}, "yaxis": named_rows(names)}
    return chart(alt, data, layout, caption, 80 + 24 * len(names))


def named_rows(names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis with one name per row, the first at the top."""
    return {
        "tickvals": list(range(len(names))), "ticktext": [short(name, 28) for name in names],
        "range": [len(names) - 0.4, -0.6], "zeroline": False,
    }  # fmt: skip


def vertical(x: float, edge: dict[str, Any]) -> dict[str, Any]:
    """A vertical line from the bottom to the top."""
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": edge}


def marker(place: int, size: float = 9) -> dict[str, Any]:
    """Colour and symbol of the `place`-th series; the pairs of the first 64 differ."""
    symbol = MARKERS[(place + 3 * (place // len(SERIES))) % len(MARKERS)]
    edge = {"color": "var(--surface)", "width": 0.7}
    return {"color": SERIES[place % len(SERIES)], "symbol": symbol, "size": size, "line": edge}


def short(name: str, letters: int) -> str:
    """Shorten a name by cutting out its middle, because similar names often begin alike."""
    end = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[: letters - 1 - end]}…{name[-end:]}"


def _json(value: dict[str, Any]) -> str:
    """Write JSON that cannot close its script element, with numbers of five digits, and null if not finite."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _plain(part, name) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, str):
        return value if key == "hovertemplate" else escape(printable(value), quote=False)  # Plotly reads <b> and &lt;
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
