"""Results of evaluations: the encoder and its controls with intervals, and the scores of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.evaluation.intervals import Estimate
from anyjepa.evaluation.result import EVENT_HEAD, EVENTS, TITLES, Result, Row, first_of
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import INK, MARKERS, MUTED, SERIES, SURFACE, axes, blank, draw
from anyjepa.report.estimates import auroc, mean_text, range_text, text, title
from anyjepa.report.markup import Html, figure, join, note, number, table, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASSES = 40  # largest number of classes in the figure; the table has all


def evaluations(run: Contents) -> Html:
    """One table and one figure per evaluation."""
    if not run.results and run.without_labels:
        return Html()
    if not run.results:
        return note("This run is not evaluated yet. Run `anyjepa evaluate` to add results.")
    return join(_evaluation(result) for result in run.results)


def per_class(run: Contents) -> Html:
    """AUROC of each class, for each evaluation."""
    if not run.results:
        return Html() if run.without_labels else note("This run is not evaluated yet.")
    return join(_classes(result) for result in run.results)


def _evaluation(result: Result) -> Html:
    metrics = [name for name in TITLES if name in result.rows[0].metrics]
    titles = [TITLES[name] for name in metrics]
    head = ["", titles[0], "first row minus this row", *titles[1:]]
    cells = []
    for row in result.rows:
        values = (result.metric(row, name) for name in metrics)
        first, *others = map(_cell, values)
        cells.append([row.title, first, _cell(result.difference(row), signed=True), *others])
    parts = [
        tag("h3", title(result)),
        *(tag("p", notice, class_="note warn") for notice in result.notices),
        tag("p", _tested(result)),
        table(head, cells, f"Means. Intervals: {result.basis}. Differences are in macro AUROC, paired."),
    ]
    if events := result.event_rows():
        parts.append(table(list(EVENT_HEAD), events, f"{EVENTS}. Means over repeats."))
    drawn = [row for row in result.rows if auroc(result, row).mean is not None]
    if drawn:
        alt = f"{title(result)}, macro AUROC: " + "; ".join(f"{row.title} {text(auroc(result, row))}" for row in drawn)
        caption = f"Macro AUROC. Intervals: {result.basis}. Controls are grey."
        parts.append(figure(draw(alt, lambda: _forest(result, drawn)), caption))
    return join(parts)


def _tested(result: Result) -> str:
    """The data of the evaluation: sizes, and what is excluded."""
    train, choose, test = (number(count) for count in result.parts.records)
    text = (
        f"On {result.data}: {_size(result)}; "
        f"in the first repeat, {train} for training, {choose} for validation, {test} for testing."
    )
    if result.dropped:
        text += f" Excluded as too rare: {', '.join(f'{name} ({count})' for name, count in result.dropped.items())}."
    for part, classes in result.without_positives.items():
        text += f" Without positive {part} {result.what[0]} in some repeats: {', '.join(classes)}."
    for kind, count in (("unlabelled", result.unlabelled), ("absent", result.absent)):
        if count:
            named = result.what[0]
            what = f"{named} have no label" if kind == "unlabelled" else f"labels have no {named}"
            text += f" {number(count)} {what}{first_of(result.examples.get(kind, ()), count)}"
    return text


def _size(result: Result) -> str:
    records, groups = result.what
    return f"{number(result.records)} {records}" + (
        f" of {number(result.groups)} {groups}" if groups != records else ""
    )


def _cell(value: Estimate, signed: bool = False) -> Html:
    return join([mean_text(value, signed), tag("span", range_text(value, signed), class_="range")])


def _forest(result: Result, rows: list[Row]) -> Figure:
    page = blank(900, 56 + 30 * len(rows))
    plot = axes(page, left=290, right=24)
    for place, row in enumerate(rows):
        colour, width, size = (MUTED, 2, 6) if row.control else (SERIES[0], 3, 8)
        mean, low, high = _numbers(auroc(result, row))
        plot.plot([low, high], [place, place], color=colour, linewidth=width)
        plot.plot(mean, place, "o", color=colour, markersize=size, markeredgecolor=SURFACE)
    _name_rows(plot, [_short(row.title, 42) for row in rows])
    plot.set_xlabel("macro AUROC")
    return page


def _classes(result: Result) -> Html:
    first = result.rows[0]
    names = sorted(result.classes, key=lambda name: -np.nan_to_num(_numbers(_of(result, first, name))[0], nan=-1))
    drawn = names[:_CLASSES]
    alt = f"{title(result)}, AUROC of {len(names)} classes: "
    alt += "; ".join(f"{name} {text(_of(result, first, name))}" for name in drawn)
    more = f" The {_CLASSES} best of {len(names)} classes are shown." if len(names) > _CLASSES else ""
    over = f" (intervals: {result.basis})" if any(_of(result, first, name).low is not None for name in drawn) else ""
    caption = f"Bars: {first.title}{over}. Markers: the other rows.{more}"
    head = ["class", result.what[0], *(row.title for row in result.rows)]
    cells = [
        [name, number(result.classes[name]), *(_cell(_of(result, row, name)) for row in result.rows)] for name in names
    ]
    return join(
        [
            tag("h3", title(result)),
            figure(draw(alt, lambda: _bars(result, drawn)), caption),
            tag("details", tag("summary", "Show as a table"), table(head, cells)),
        ]
    )


def _bars(result: Result, names: list[str]) -> Figure:
    """Draw the first row as bars that start at chance, and the other rows as markers."""
    first, *others = result.rows
    top = 30 + 20 * ((len(result.rows) + 2) // 3)
    page = blank(900, 46 + top + 26 * len(names))
    plot = axes(page, left=200, right=24, top=top)
    places = np.arange(len(names))
    values = np.array([_numbers(_of(result, first, name)) for name in names])
    handles: list = [plot.barh(places, values[:, 0] - 0.5, left=0.5, height=0.62, color=SERIES[0])]
    plot.hlines(places, values[:, 1], values[:, 2], color=INK, linewidth=1.2)
    for order, row in enumerate(others):
        means = [_numbers(_of(result, row, name))[0] for name in names]
        marker, colour = MARKERS[1 + order % 7], SERIES[1 + order % 7]
        handles += plot.plot(
            means, places, marker=marker, color=colour, markersize=7, markeredgecolor=SURFACE, linestyle="none"
        )
    plot.axvline(0.5, color=MUTED, linewidth=1)
    _name_rows(plot, [_short(name, 30) for name in names])
    plot.set_xlabel("AUROC; chance is 0.5")
    labels = [_short(row.title, 42) for row in result.rows]
    page.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 1), ncols=3, labelcolor=INK, columnspacing=1.4)
    return page


def _of(result: Result, row: Row, name: str) -> Estimate:
    """AUROC of a class."""
    return result.metric(row, "auroc", name)


def _numbers(value: Estimate) -> tuple[float, float, float]:
    """Mean, low and high; NaN for what is missing."""
    mean, low, high = (float("nan") if x is None else x for x in (value.mean, value.low, value.high))
    return mean, low, high


def _name_rows(plot: Axes, names: list[str]) -> None:
    """Label the whole numbers of the vertical axis with `names`, the first at the top."""
    plot.set_yticks(range(len(names)), names, color=INK)
    plot.set_ylim(len(names) - 0.4, -0.6)
    plot.grid(axis="y", visible=False)


def _short(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
