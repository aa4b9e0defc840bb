"""Results of evaluations: the encoder and its controls with intervals, and the scores of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anyjepa.evaluation.intervals import Estimate
from anyjepa.evaluation.result import EVENT_HEAD, EVENTS, TITLES, Result, Row, first_of
from anyjepa.report.charts import MUTED, SERIES, Trace, chart, marker, named_rows, vertical
from anyjepa.report.contents import Contents
from anyjepa.report.estimates import auroc, mean_text, range_text, text
from anyjepa.report.markup import Html, join, number, table, tag

_CLASSES = 40  # largest number of classes in the figure; the table has all


def evaluations(run: Contents) -> Html:
    """The scores of each evaluation; empty if there are none."""
    return unfolded(run.ranked, _evaluation)


def per_class(run: Contents) -> Html:
    """AUROC of each class, for each evaluation; empty if there are none."""
    return unfolded(run.ranked, _classes)


def unfolded(results: Sequence[Result], show: Callable[[Result], Html]) -> Html:
    """Show the first result in full, and the others collapsed below it."""
    parts = [tag("h3", results[0].heading), show(results[0])] if results else []
    return join([*parts, *(tag("details", tag("summary", _summary(one)), show(one)) for one in results[1:])])


def _summary(result: Result) -> str:
    first = auroc(result, result.rows[0])
    return result.heading + ("" if first.mean is None else f": macro AUROC {text(first)}")


def _evaluation(result: Result) -> Html:
    metrics = [name for name in TITLES if name in result.rows[0].metrics]
    ends = _ends([auroc(result, row) for row in result.rows])
    cells = [
        [row.title, _cell(value := auroc(result, row)), _strip(value, ends, row.control),
         _cell(result.difference(row), signed=True)]
        for row in result.rows
    ]  # fmt: skip
    scale = tag("span", *(tag("span", f"{end:.2f}") for end in ends), class_="scale")
    head = ["", TITLES["macro_auroc"], scale, "first row minus this row"]
    caption = f"Means. Intervals: {result.basis}. Controls are grey. Differences are paired."
    parts = [
        *(tag("p", notice, class_="note warn") for notice in result.notices),
        tag("p", _tested(result)),
        table(head, cells, caption),
    ]
    if others := [name for name in metrics if name != "macro_auroc"]:
        rows = [[row.title, *(_cell(result.metric(row, name)) for name in others)] for row in result.rows]
        every = table(["", *(TITLES[name] for name in others)], rows)
        parts.append(tag("details", tag("summary", "Other metrics"), every))
    if events := result.event_rows():
        parts.append(table(list(EVENT_HEAD), events, f"{EVENTS}. Means over repeats."))
    return join(parts)


def _tested(result: Result) -> str:
    """Describe the data of the evaluation: sizes and exclusions."""
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
            what = f"{named} without {result.missing_label}" if kind == "unlabelled" else f"labels without {named}"
            text += f" {number(count)} {what}{first_of(result.examples.get(kind, ()), count)}"
    return text


def _size(result: Result) -> str:
    records, groups = result.what
    return f"{number(result.records)} {records}" + (
        f" of {number(result.groups)} {groups}" if groups != records else ""
    )


def _cell(value: Estimate, signed: bool = False) -> Html:
    return join([mean_text(value, signed), tag("span", range_text(value, signed), class_="range")])


def _ends(values: Sequence[Estimate]) -> tuple[float, float]:
    """Ends of the scale of a column of intervals, rounded outwards to 0.05."""
    finite = [x for value in values for x in _numbers(value) if np.isfinite(x)] or [0.0, 1.0]
    low, high = np.floor(min(finite) * 20) / 20, np.ceil(max(finite) * 20) / 20
    return float(low), float(max(high, low + 0.05))


def _strip(value: Estimate, ends: tuple[float, float], control: bool) -> Html:
    """The mean and its interval, drawn on the scale of the column."""
    mean, low, high = ((x - ends[0]) / (ends[1] - ends[0]) * 100 for x in _numbers(value))
    if not np.isfinite(mean):
        return Html()
    parts = [tag("b", style=f"left: {mean:.1f}%")]
    if np.isfinite(low) and np.isfinite(high):
        parts.insert(0, tag("i", style=f"left: {low:.1f}%; width: {high - low:.1f}%"))
    return tag("span", *parts, class_="strip control" if control else "strip", aria_hidden="true")


def _classes(result: Result) -> Html:
    first = result.rows[0]
    names = sorted(result.classes, key=lambda name: -np.nan_to_num(_numbers(_of(result, first, name))[0], nan=-1))
    drawn = names[:_CLASSES]
    alt = f"{result.heading}, AUROC of {len(names)} classes: "
    alt += "; ".join(f"{name} {text(_of(result, first, name))}" for name in drawn)
    more = f" The {_CLASSES} best of {len(names)} classes are shown." if len(names) > _CLASSES else ""
    over = f" Lines: {result.basis}." if any(_of(result, first, name).low is not None for name in drawn) else ""
    caption = f"AUROC of each class, sorted by {first.title}; 0.5 is chance.{over}{more}"
    layout = {
        "xaxis": {"title": {"text": "AUROC"}},
        "yaxis": named_rows(drawn),
        "shapes": [vertical(0.5, {"color": MUTED, "width": 1})],
    }
    head = ["class", result.what[0], *(row.title for row in result.rows)]
    cells = [
        [name, number(result.classes[name]), *(_cell(_of(result, row, name)) for row in result.rows)] for name in names
    ]
    return join(
        [
            chart(alt, _markers(result, drawn), layout, caption, 90 + 24 * len(drawn)),
            tag("details", tag("summary", "Show as a table"), table(head, cells)),
        ]
    )


def _markers(result: Result, names: Sequence[str]) -> list[Trace]:
    """One marker per class for every row, the first row on top and with its intervals."""
    data: list[Trace] = []
    for place, row in enumerate(result.rows):
        values = [_of(result, row, name) for name in names]
        means, lows, highs = np.array([_numbers(value) for value in values]).T
        one: Trace = {
            "name": row.title, "x": means.tolist(), "y": list(range(len(names))), "mode": "markers",
            "marker": marker(place, 8 if place else 11), "hovertemplate": "%{text}<extra></extra>",
            "text": [
                f"{name} ({number(result.classes[name])}), {row.title}: {text(value)}"
                for name, value in zip(names, values, strict=True)
            ],
        }  # fmt: skip
        if not place and np.isfinite(highs).any():
            spread = {"array": (highs - means).tolist(), "arrayminus": (means - lows).tolist()}
            one["error_x"] = {
                "type": "data",
                "symmetric": False,
                "color": SERIES[0],
                "thickness": 2,
                "width": 0,
                **spread,
            }
        data.append(one)
    return data


def _of(result: Result, row: Row, name: str) -> Estimate:
    """AUROC of a class."""
    return result.metric(row, "auroc", name)


def _numbers(value: Estimate) -> tuple[float, float, float]:
    """Mean, low and high; NaN for what is missing."""
    mean, low, high = (float("nan") if x is None else x for x in (value.mean, value.low, value.high))
    return mean, low, high
