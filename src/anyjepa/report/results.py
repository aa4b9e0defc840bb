"""What the probes found: tables with intervals, the encoder beside its controls, and every class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.report.contents import Contents
from anyjepa.report.drawing import INK, MARKERS, MUTED, SERIES, SURFACE, axes, blank, draw
from anyjepa.report.evaluations import Comparison, Interval, Row
from anyjepa.report.markup import Html, figure, join, note, table, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_METRICS = {
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
_CLASSES = 40  # more are in the table only


def probes(run: Contents) -> Html:
    """One table and one picture an evaluation."""
    if not run.comparisons:
        return note("Not evaluated yet: there is no readable file in results/. `anyjepa evaluate` writes one.")
    return join(_probe(one) for one in run.comparisons)


def per_class(run: Contents) -> Html:
    """AUROC of every class, for each evaluation that has them."""
    found = [one for one in run.comparisons if any(row.per_class for row in one.rows)]
    if not found:
        return note("No result names its classes.")
    return join(_classes(one) for one in found)


def _probe(one: Comparison) -> Html:
    names = [name for name in _METRICS if any(name in row.metrics for row in one.rows)]
    paired = any(row.difference for row in one.rows)
    head = ["", *(_METRICS[name] for name in names), *(["encoder minus this"] if paired else [])]
    cells = [
        [
            row.title,
            *(_cell(row.metrics.get(name)) for name in names),
            *([_cell(row.difference, True)] if paired else []),
        ]
        for row in one.rows
    ]
    parts = [tag("h3", one.title), *(note(text) for text in one.notes), table(head, cells, "Mean with 95 % interval.")]
    drawn = [row for row in one.rows if row.auroc.known]
    if drawn:
        alt = "Macro AUROC: " + "; ".join(f"{row.title} {row.auroc}" for row in drawn)
        parts.append(figure(draw(alt, lambda: _forest(drawn)), "Macro AUROC with its 95 % interval."))
    return join(parts)


def _cell(value: Interval | None, signed: bool = False) -> Html:
    if value is None or not value.known:
        return Html("–")
    mean = f"{value.mean:+.3f}" if signed else f"{value.mean:.3f}"
    return join([mean, tag("span", value.range(signed), class_="range")])


def _forest(rows: list[Row]) -> Figure:
    page = blank(900, 56 + 30 * len(rows))
    plot = axes(page, left=250, right=24)
    for place, row in enumerate(rows):
        colour, width, size = (SERIES[0], 3, 8) if row.main else (MUTED, 2, 6)
        plot.plot([row.auroc.low, row.auroc.high], [place, place], color=colour, linewidth=width)
        plot.plot(row.auroc.mean, place, "o", color=colour, markersize=size, markeredgecolor=SURFACE)
    _name_rows(plot, [row.title[:36] for row in rows])
    plot.set_xlabel("macro AUROC")
    return page


def _classes(one: Comparison) -> Html:
    rows = sorted((row for row in one.rows if row.per_class), key=lambda row: not row.main)
    first = rows[0]
    names = list(dict.fromkeys(name for row in rows for name in row.per_class))
    names.sort(key=lambda name: -np.nan_to_num(first.of(name).mean, nan=-1))
    drawn = names[:_CLASSES]
    alt = f"AUROC of {len(names)} classes: " + "; ".join(f"{name} {first.of(name)}" for name in drawn)
    more = f" The {_CLASSES} best of {len(names)} classes are drawn." if len(names) > _CLASSES else ""
    caption = f"Bars: {first.title}, with 95 % intervals. Marks: the controls.{more}"
    head = ["class", "records", *(row.title for row in rows)]
    cells = [[name, one.counts.get(name, "–"), *(_cell(row.of(name)) for row in rows)] for name in names]
    return join(
        [
            tag("h3", one.title),
            figure(draw(alt, lambda: _bars(rows, drawn)), caption),
            tag("details", tag("summary", "The same as a table"), table(head, cells)),
        ]
    )


def _bars(rows: list[Row], names: list[str]) -> Figure:
    """The first row as bars from chance, the others as marks."""
    page = blank(900, 90 + 26 * len(names))
    plot = axes(page, left=200, right=24, top=44)
    places = np.arange(len(names))
    first, *controls = rows
    values = np.array([[first.of(name).mean, first.of(name).low, first.of(name).high] for name in names])
    handles: list = [plot.barh(places, values[:, 0] - 0.5, left=0.5, height=0.62, color=SERIES[0], label=first.title)]
    plot.hlines(places, values[:, 1], values[:, 2], color=INK, linewidth=1.2)
    for order, row in enumerate(controls):
        means = [row.of(name).mean for name in names]
        marker, colour = MARKERS[1 + order % 7], SERIES[1 + order % 7]
        style = {"markersize": 7, "markeredgecolor": SURFACE, "linestyle": "none"}
        handles += plot.plot(means, places, marker=marker, color=colour, label=row.title, **style)
    plot.axvline(0.5, color=MUTED, linewidth=1)
    _name_rows(plot, [name[:30] for name in names])
    plot.set_xlabel("AUROC; chance is 0.5")
    page.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=4, labelcolor=INK, columnspacing=1.4)
    return page


def _name_rows(plot: Axes, names: list[str]) -> None:
    """A name at each whole number of the vertical axis, the first on top."""
    plot.set_yticks(range(len(names)), names, color=INK)
    plot.set_ylim(len(names) - 0.4, -0.6)
    plot.grid(axis="y", visible=False)
