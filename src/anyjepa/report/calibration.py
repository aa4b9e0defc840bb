"""Calibration of the predicted probabilities: the reliability curve, and the metrics of each class."""

from __future__ import annotations

import numpy as np

from anyjepa.evaluation.calibration import Reliability
from anyjepa.evaluation.result import Result, Row
from anyjepa.report.charts import MUTED, Trace, chart, line, marker
from anyjepa.report.contents import Contents
from anyjepa.report.estimates import text
from anyjepa.report.markup import Html, join, note, number, table, tag
from anyjepa.report.results import unfolded

_METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "ece": "ECE", "brier": "Brier"}


def calibration(run: Contents) -> Html:
    """One reliability curve per evaluation, and a table of the classes for its first row; empty without results."""
    if run.results and not any(result.rows[0].reliability for result in run.results):
        return note("No evaluation of this run measured calibration.")
    return unfolded([result for result in run.ranked if result.rows[0].reliability], _of)


def _of(result: Result) -> Html:
    first = result.rows[0]
    drawn = [(row, row.reliability) for row in result.rows if row.reliability]
    alt = f"{result.heading}, predicted probability and observed frequency; " + "; ".join(
        f"{row.title}: macro ECE {text(result.metric(row, 'macro_ece'))}" for row, _ in drawn
    )
    caption = (
        "Observed frequency of a class by its predicted probability, pooled over all classes and test sets. "
        "Perfect calibration lies on the diagonal."
    )
    head = ["class", result.what[0], *_METRICS.values(), *([] if result.exclusive else ["threshold"])]
    cells = []
    for name, count in result.classes.items():
        values = (text(result.metric(first, metric, name)) for metric in _METRICS)
        cells.append([name, number(count), *values, *_threshold(first, name)])
    decision = "the most probable class" if result.exclusive else "the thresholds with the largest validation F1"
    diagonal = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": MUTED, "width": 1}, "hoverinfo": "skip"}
    layout = {
        "xaxis": {"title": {"text": "predicted probability"}, "range": [-0.02, 1.02]},
        "yaxis": {"title": {"text": "observed frequency"}, "range": [-0.02, 1.02]},
    }
    curves = [_curve(row, curve, place) for place, (row, curve) in enumerate(drawn)]
    return join(
        [
            chart(alt, [diagonal, *curves], layout, caption, 380),
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


def _curve(row: Row, curve: Reliability, place: int) -> Trace:
    bins = zip(curve.forecast, curve.observed, curve.counts, strict=True)
    filled = [(forecast, observed, count) for forecast, observed, count in bins if forecast is not None and count]
    return line(
        row.title, [bin[0] for bin in filled], [bin[1] for bin in filled], place,
        mode="lines+markers", marker=marker(place, 8), customdata=[bin[2] for bin in filled],
        hovertemplate="%{fullData.name}: predicted %{x:0.2f}, observed <b>%{y:0.2f}</b>, "
        "%{customdata:,} predictions<extra></extra>",
    )  # fmt: skip
