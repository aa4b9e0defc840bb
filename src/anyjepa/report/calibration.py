"""Calibration of the predicted probabilities: the reliability curve, and the metrics of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.evaluation.calibration import BINS
from anyjepa.evaluation.result import Result, Row
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import INK, MARKERS, MUTED, SERIES, SURFACE, axes, blank, draw
from anyjepa.report.estimates import text, title
from anyjepa.report.markup import Html, figure, join, note, number, table, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "ece": "ECE", "brier": "Brier"}


def calibration(run: Contents) -> Html:
    """One reliability curve per evaluation, and a table of the classes for its first row."""
    results = [result for result in run.results if result.rows[0].reliability]
    if not results and run.without_labels:
        return Html()
    if not results:
        return note("No evaluation of this run measured calibration.")
    return join(_of(result) for result in results)


def _of(result: Result) -> Html:
    first = result.rows[0]
    drawn = [row for row in result.rows if row.reliability]
    alt = f"{title(result)}, predicted probability and observed frequency; " + "; ".join(
        f"{row.title}: macro ECE {text(result.metric(row, 'macro_ece'))}" for row in drawn
    )
    caption = (
        "Observed frequency of a class by its predicted probability, pooled over all classes and test sets. "
        "Perfect calibration lies on the diagonal. Bottom: predictions of the first row per bin (log scale)."
    )
    head = ["class", result.what[0], *_METRICS.values(), *([] if result.exclusive else ["threshold"])]
    cells = []
    for name, count in result.classes.items():
        values = (text(result.metric(first, metric, name)) for metric in _METRICS)
        cells.append([name, number(count), *values, *_threshold(first, name)])
    decision = "the most probable class" if result.exclusive else "the thresholds with the largest validation F1"
    return join(
        [
            tag("h3", title(result)),
            figure(draw(alt, lambda: _curves(drawn)), caption),
            tag(
                "details",
                tag("summary", f"All classes, {first.title}"),
                table(head, cells, f"Intervals: {result.basis}. F1 uses {decision} and is a mean over repeats."),
            ),
        ]
    )


def _threshold(row: Row, name: str) -> list[str]:
    if row.repeats[0].thresholds is None:
        return []
    thresholds = [value for r in row.repeats if r.thresholds and (value := r.thresholds.get(name)) is not None]
    return [number(float(np.mean(thresholds))) if thresholds else "0.5 (no positives in the validation data)"]


def _curves(rows: list[Row]) -> Figure:
    page = blank(900, 400)
    plot = axes(page, left=80, right=430, bottom=130)
    below = page.add_axes((80 / 900, 40 / 400, 390 / 900, 70 / 400), sharex=plot)
    plot.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
    handles = []
    for order, row in enumerate(rows):
        curve = row.reliability
        assert curve is not None
        points = np.array([(f, o) for f, o in zip(curve.forecast, curve.observed, strict=True) if f is not None], float)
        handles += plot.plot(
            *points.T, color=SERIES[order % 8], marker=MARKERS[order % 8], markersize=6, markeredgecolor=SURFACE
        )
    counts = np.array(rows[0].reliability.counts) if rows[0].reliability else np.zeros(BINS)
    below.bar((np.arange(BINS) + 0.5) / BINS, counts, width=0.8 / BINS, color=SERIES[0])
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.minorticks_off()
    plot.set_xlim(-0.02, 1.02)
    plot.set_ylim(-0.02, 1.02)
    plot.set_ylabel("observed frequency")
    plot.tick_params(labelbottom=False)
    below.set_xlabel("probability")
    below.set_ylabel("predictions")
    page.legend(
        handles, [row.title for row in rows], loc="upper left", bbox_to_anchor=(490 / 900, 0.98), labelcolor=INK
    )
    return page
