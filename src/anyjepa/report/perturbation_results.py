"""Prediction of perturbations: a comparison of methods and baselines, and the scores of each test condition."""

from __future__ import annotations

import numpy as np

from anyjepa.evaluation.intervals import UNKNOWN
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import HEADLINE, MethodRow, PerturbationResult, Places, answered_rows
from anyjepa.perturbation.scoring.verdict import verdict
from anyjepa.report.charts import INK, MUTED, Trace, chart, dots, marker
from anyjepa.report.contents import Contents
from anyjepa.report.estimates import interval_text, mean_text
from anyjepa.report.markup import Html, join, number, table, tag

_SHOWN = ("pearson_delta", HEADLINE, "top20_mse", "discrimination", "l2", "energy_distance", "de_overlap")
_CONDITIONS = 40  # largest number of conditions in a figure; the result file has all
_NAMED = 8  # conditions with a name on the map
_COMPARED = ("additive", "ridge on co-expression", "matching mean")  # the first one with predictions is drawn
_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def perturbations(run: Contents) -> Html:
    """One table and the figures of each result; empty if there are none."""
    return join(_result(result) for result in run.perturbations)


def perturbation_summary(result: PerturbationResult) -> list[object]:
    """The result in one sentence, for the top of the page."""
    first = result.rows[0]
    return [
        f"{len(result.conditions)} held-out perturbations of the {result.data}: correlation with the true change "
        "beyond the mean perturbation, ",
        tag("strong", mean_text(first.metrics[HEADLINE])),
        f" {interval_text(first.metrics[HEADLINE])}. {verdict(result)}",
    ]


def _result(result: PerturbationResult) -> Html:
    shown = [name for name in _SHOWN if result.rows[0].metrics.get(name, UNKNOWN).mean is not None]
    head = ["", *(METRICS[name].title + _ARROWS[METRICS[name].better] for name in shown), "first row minus this row"]
    rows = [
        [
            row.name,
            *(mean_text(row.metrics.get(name, UNKNOWN)) for name in shown),
            join([mean_text(gain, True), tag("span", interval_text(gain, True), class_="range")])
            if (gain := row.difference.get(HEADLINE, UNKNOWN)).mean is not None
            else "–",
        ]
        for row in answered_rows(result)
    ]
    silent = [row.name for row in result.rows if row not in answered_rows(result)]
    caption = (
        f"{len(result.conditions)} test conditions from {result.splits} split{'s' if result.splits > 1 else ''}, "
        f"{number(result.genes)} genes. The last column is the difference in {METRICS[HEADLINE].title}, paired by "
        "condition, with its 95 % interval (bootstrap over conditions)."
    )
    if result.left_out:
        caption += f" Excluded: {result.left_out} with a ceiling no better than {result.baseline}."
    if silent:
        caption += f" Methods without predictions: {', '.join(silent)}."
    parts = [
        tag("h3", f"Held-out perturbations of the {result.data}"),
        *(tag("p", notice, class_="note warn") for notice in result.notices),
        table(head, rows, caption),
    ]
    if result.decoded:
        decoded = ", ".join(f"{name} {value:.3f}" for name, value in result.decoded.items())
        parts.append(tag("p", f"Pearson delta of the measured means after decoding each representation: {decoded}."))
    compared = next((row for name in _COMPARED for row in answered_rows(result) if row.name == name), None)
    drawn = [result.rows[0], *([compared] if compared else [])]
    alt = f"{METRICS[HEADLINE].title} of each test condition: " + "; ".join(
        f"{result.conditions[place].name} {_score(drawn[0], place):.2f}" for place in _order(result)
    )
    count = len(result.conditions)
    more = f" The {_CONDITIONS} largest effects of {count} are shown." if count > _CONDITIONS else ""
    caption = f"{METRICS[HEADLINE].title} of each test condition, sorted by size of effect; 1 is perfect.{more}"
    order = _order(result)
    names = [result.conditions[place].name for place in order]
    scores = {row.name: [_score(row, place) for place in order] for row in drawn}
    parts.append(dots(alt, names, scores, "Pearson vs mean (perturbed mean: 0)", caption))
    if (places := result.places) is not None:
        x, y = (f"{share:.0%}" for share in places.explained)
        caption = (
            f"Measured changes of the mean (dots), each joined to the change that {result.rows[0].name} predicts "
            f"(triangles). The axes are the first two principal axes of the measured changes, with {x} and {y} of "
            f"their squared length; the cross marks no change.{more}"
        )
        alt = "Predicted and measured changes: " + "; ".join(
            f"{result.conditions[i].name} {_place(places.predicted[i])} for {_place(places.true[i])}"
            for i in _order(result)
        )
        parts.append(_map(result, places, alt, caption))
    return join(parts)


def _map(result: PerturbationResult, places: Places, alt: str, caption: str) -> Html:
    order = _order(result)
    names = [result.conditions[i].name for i in order]
    measured, predicted = ([[_or_nan(x) for x in one[i]] for i in order] for one in (places.true, places.predicted))
    joined = [xy for pair in zip(measured, predicted, strict=True) for xy in (*pair, [float("nan")] * 2)]
    no_change = {"symbol": "cross-thin-open", "size": 12, "color": INK}
    data: list[Trace] = [
        {"x": [xy[0] for xy in joined], "y": [xy[1] for xy in joined], "mode": "lines", "hoverinfo": "skip",
         "line": {"color": MUTED, "width": 1}},
        {"x": [0], "y": [0], "mode": "markers", "hoverinfo": "skip", "marker": no_change},
    ]  # fmt: skip
    for place, (series, points) in enumerate({"measured": measured, "predicted": predicted}.items()):
        shown = names if place else [name if rank < _NAMED else "" for rank, name in enumerate(names)]
        data.append({
            "name": series, "x": [xy[0] for xy in points], "y": [xy[1] for xy in points], "marker": marker(place),
            "mode": "markers" if place else "markers+text", "text": shown, "textposition": "top right",
            "customdata": names, "hovertemplate": "%{customdata}, %{fullData.name}<extra></extra>",
        })  # fmt: skip
    axes = {
        "xaxis": {"title": {"text": "first axis of the measured changes"}},
        "yaxis": {"title": {"text": "second axis"}},
    }
    return chart(alt, data, axes, caption, 460)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _place(place: tuple[float | None, float | None]) -> str:
    return "no prediction" if None in place else f"({place[0]:.1f}, {place[1]:.1f})"


def _order(result: PerturbationResult) -> list[int]:
    """Indices of the conditions with the largest effects, in descending order."""
    effects = np.array([condition.effect for condition in result.conditions])
    return np.argsort(-effects, kind="stable")[:_CONDITIONS].tolist()


def _score(row: MethodRow, place: int) -> float:
    return _or_nan(row.scores[HEADLINE][place])
