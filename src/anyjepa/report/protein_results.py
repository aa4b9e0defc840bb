"""Prediction of proteins from expression: a comparison of representations, and the scores of each protein."""

from __future__ import annotations

import numpy as np

from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.evaluation.proteins.result import METRICS, ProteinResult, ProteinRow
from anyjepa.report.charts import dots
from anyjepa.report.contents import Contents
from anyjepa.report.estimates import interval_text, mean_text
from anyjepa.report.markup import Html, join, table, tag

_DRAWN = 40  # largest number of proteins in the figure; the result file has all


def proteins(run: Contents) -> Html:
    """One table and one figure per result; empty if there are none."""
    return join(_result(result) for result in run.proteins)


def protein_summary(result: ProteinResult) -> list[object]:
    """The result in one sentence, for the top of the page."""
    first, best = result.rows[0], _best(result)
    summary: list[object] = [
        f"Proteins of held-out cells of {result.data}, predicted from their expression: R2 ",
        tag("strong", mean_text(first.metrics["r2"])),
        f" {interval_text(first.metrics['r2'])}.",
    ]
    if best is not None:
        gain = best.difference["r2"]
        summary.append(f" Best other method: {best.name}, {mean_text(best.metrics['r2'])}; difference ")
        summary.append(f"{mean_text(gain, True)} {interval_text(gain, True)}.")
    return summary


def _result(result: ProteinResult) -> Html:
    head = ["", *(f"{title} ↑" for title in METRICS.values()), "R2, first row minus this row"]
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
    caption = f"R2 of each protein; predicting the training mean gives about 0.{more}"
    return join(
        [
            tag("h3", f"Held-out cells of {result.data}"),
            *(tag("p", notice, class_="note warn") for notice in result.notices),
            table(head, rows, result.behind),
            dots(alt, names, values, "R2", caption),
        ]
    )


def _best(result: ProteinResult) -> ProteinRow | None:
    """The row with the largest R2 after the first one."""
    others = [row for row in result.rows[1:] if row.by_protein is not None]
    return max(others, key=lambda row: np.mean(row.by_protein or ()), default=None)


def _gain(gain: Estimate | None) -> object:
    return (
        "–" if gain is None else join([mean_text(gain, True), tag("span", interval_text(gain, True), class_="range")])
    )


def _r2(row: ProteinRow, place: int) -> float:
    return (row.by_protein or ())[place]
