"""How well perturbations are predicted: every method beside its baselines, and each tested condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.evaluation.intervals import UNKNOWN
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import HEADLINE, JudgedRow, Judgement, Places, answering
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import INK, MARKERS, MUTED, SERIES, SURFACE, axes, blank, dots, draw
from anyjepa.report.estimates import interval_text, mean_text
from anyjepa.report.markup import Html, figure, join, number, table, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = ("pearson_delta", HEADLINE, "top20_mse", "discrimination", "l2", "energy_distance", "de_overlap")
_CONDITIONS = 40  # more are in the file only
_NAMED = 8  # conditions with their names on the map
_BESIDE = ("additive", "ridge on co-expression", "matching mean")  # the first that answers is drawn
_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def perturbations(run: Contents) -> Html:
    """One table and one picture a judgement; nothing for a run that was not judged so."""
    return join(_judgement(result) for result in run.judgements)


def sentence(result: Judgement) -> list[object]:
    """The judgement in one sentence, for the top of the page."""
    first = result.rows[0]
    best = min(
        (row for row in answering(result)[1:] if row.name != result.ceiling),  # the same head on PCA is one, too
        key=lambda row: -(row.metrics[HEADLINE].mean or 0),
        default=None,
    )
    said: list[object] = [
        f"{len(result.conditions)} held-out perturbations of the {result.data}: correlation with the true change, "
        "beyond that of the mean perturbation, ",
        tag("strong", mean_text(first.metrics[HEADLINE])),
        f" {interval_text(first.metrics[HEADLINE])}.",
    ]
    if best is not None:
        gain = best.difference[HEADLINE]
        said.append(f" Best beside it: {best.name}, {mean_text(best.metrics[HEADLINE])}; difference ")
        said.append(f"{mean_text(gain, True)} {interval_text(gain, True)}.")
    return said


def _judgement(result: Judgement) -> Html:
    shown = [name for name in _SHOWN if result.rows[0].metrics.get(name, UNKNOWN).mean is not None]
    head = ["", *(METRICS[name].title + _ARROWS[METRICS[name].better] for name in shown), "first row minus this"]
    rows = [
        [
            row.name,
            *(mean_text(row.metrics.get(name, UNKNOWN)) for name in shown),
            join([mean_text(gain, True), tag("span", interval_text(gain, True), class_="range")])
            if (gain := row.difference.get(HEADLINE, UNKNOWN)).mean is not None
            else "–",
        ]
        for row in answering(result)
    ]
    silent = [row.name for row in result.rows if row not in answering(result)]
    said = (
        f"{len(result.conditions)} test conditions of {result.splits} split{'s' if result.splits > 1 else ''}, "
        f"{number(result.genes)} genes. The difference is of {METRICS[HEADLINE].title}, paired by condition, with its "
        "95 % interval (bootstrap over conditions)."
    )
    if result.left_out:
        said += f" Left out: {result.left_out}, whose ceiling is no better than {result.baseline}."
    if silent:
        said += f" No answer to any of them: {', '.join(silent)}."
    parts = [
        tag("h3", f"Held-out perturbations of the {result.data}"),
        *(tag("p", notice, class_="note warn") for notice in result.notices),
        table(head, rows, said),
    ]
    if result.decoded:
        held = ", ".join(f"{name} {value:.3f}" for name, value in result.decoded.items())
        parts.append(tag("p", f"What each representation holds (Pearson delta of measured means, decoded): {held}."))
    beside = next((row for name in _BESIDE for row in answering(result) if row.name == name), None)
    drawn = [result.rows[0], *([beside] if beside else [])]
    alt = f"{METRICS[HEADLINE].title} of each tested condition: " + "; ".join(
        f"{result.conditions[place].name} {_score(drawn[0], place):.2f}" for place in _order(result)
    )
    more = f" The {_CONDITIONS} largest of {len(result.conditions)}." if len(result.conditions) > _CONDITIONS else ""
    caption = f"Each tested condition, the largest effect on top: {METRICS[HEADLINE].title}, 1 is perfect.{more}"
    order = _order(result)
    names = [result.conditions[place].name for place in order]
    scores = {row.name: [_score(row, place) for place in order] for row in drawn}
    parts.append(figure(draw(alt, lambda: dots(names, scores, "Pearson vs mean; the perturbed mean has 0")), caption))
    if (places := result.places) is not None:
        x, y = (f"{share:.0%}" for share in places.explained)
        said = (
            f"Measured changes of the mean (dots), and what {result.rows[0].name} predicts (triangles, joined to them)."
            f" The axes are the first two principal ones of the measured changes, {x} and {y} of their squared length; "
            f"the cross is no change.{more}"
        )
        alt = "Predicted and measured changes: " + "; ".join(
            f"{result.conditions[i].name} {_place(places.predicted[i])} for {_place(places.true[i])}"
            for i in _order(result)
        )
        parts.append(figure(draw(alt, lambda: _map(result, places)), said))
    return join(parts)


def _map(result: Judgement, places: Places) -> Figure:
    page = blank(900, 520)
    plot = axes(page, left=70, right=24, top=16)
    true, predicted = (np.array(one, float) for one in (places.true, places.predicted))  # None becomes NaN
    for i in _order(result):
        plot.plot(*np.stack([true[i], predicted[i]]).T, color=MUTED, linewidth=0.8)
        plot.plot(*true[i], MARKERS[0], color=SERIES[0], markeredgecolor=SURFACE, markersize=8)
        plot.plot(*predicted[i], MARKERS[1], color=SERIES[1], markeredgecolor=SURFACE, markersize=8)
    for i in _order(result)[:_NAMED]:
        plot.annotate(result.conditions[i].name, true[i], (6, 4), textcoords="offset points", color=INK)
    plot.plot(0, 0, "+", color=INK, markersize=12)
    plot.set_xlabel("first axis of the measured changes")
    plot.set_ylabel("second axis")
    return page


def _place(place: tuple[float | None, float | None]) -> str:
    return "no answer" if None in place else f"({place[0]:.1f}, {place[1]:.1f})"


def _order(result: Judgement) -> list[int]:
    """Conditions by effect, the largest first."""
    effects = np.array([condition.effect for condition in result.conditions])
    return np.argsort(-effects, kind="stable")[:_CONDITIONS].tolist()


def _score(row: JudgedRow, place: int) -> float:
    value = row.scores[HEADLINE][place]
    return float("nan") if value is None else value
