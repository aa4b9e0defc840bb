"""How well proteins are told from expression: every representation beside the others, and each protein."""

from __future__ import annotations

import numpy as np

from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.evaluation.proteins.result import METRICS, ProteinResult, ProteinRow
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import dots, draw
from anyjepa.report.estimates import interval_text, mean_text
from anyjepa.report.markup import Html, figure, join, table, tag

_DRAWN = 40  # proteins; more are in the file only


def proteins(run: Contents) -> Html:
    """One table and one picture a result; nothing for a run that was not judged so."""
    return join(_result(result) for result in run.proteins)


def told(result: ProteinResult) -> list[object]:
    """The result in one sentence, for the top of the page."""
    first, best = result.rows[0], _best(result)
    said: list[object] = [
        f"Proteins of held-out cells of {result.data}, told from their expression: R2 ",
        tag("strong", mean_text(first.metrics["r2"])),
        f" {interval_text(first.metrics['r2'])}.",
    ]
    if best is not None:
        gain = best.difference["r2"]
        said.append(f" Best beside it: {best.name}, {mean_text(best.metrics['r2'])}; difference ")
        said.append(f"{mean_text(gain, True)} {interval_text(gain, True)}.")
    return said


def _result(result: ProteinResult) -> Html:
    head = ["", *(f"{title} ↑" for title in METRICS.values()), "R2, first row minus this"]
    rows = [
        [row.name, *(mean_text(row.metrics.get(name, UNKNOWN)) for name in METRICS), _gain(row.difference.get("r2"))]
        for row in result.rows
    ]
    best = _best(result)
    drawn = [result.rows[0], *([best] if best else [])]
    order = np.argsort([-value for value in result.rows[0].by_protein or ()], kind="stable")[:_DRAWN].tolist()
    names = [result.proteins[place] for place in order]
    values = {row.name: [_r2(row, place) for place in order] for row in drawn}
    alt = "R2 of each protein: " + "; ".join(f"{result.proteins[p]} {_r2(drawn[0], p):.2f}" for p in order)
    more = f" The best {_DRAWN} of {len(result.proteins)}." if len(result.proteins) > _DRAWN else ""
    caption = f"R2 of each protein; 0 is its training mean.{more}"
    return join(
        [
            tag("h3", f"Held-out cells of {result.data}"),
            *(tag("p", notice, class_="note warn") for notice in result.notices),
            table(head, rows, result.behind),
            figure(draw(alt, lambda: dots(names, values, "R2")), caption),
        ]
    )


def _best(result: ProteinResult) -> ProteinRow | None:
    """Of the others with an R2."""
    others = [row for row in result.rows[1:] if row.by_protein is not None]
    return max(others, key=lambda row: np.mean(row.by_protein or ()), default=None)


def _gain(gain: Estimate | None) -> object:
    return (
        "–" if gain is None else join([mean_text(gain, True), tag("span", interval_text(gain, True), class_="range")])
    )


def _r2(row: ProteinRow, place: int) -> float:
    return (row.by_protein or ())[place]
