"""Training curves: signs of collapse, the loss, and the schedules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from anyjepa.diagnostics.signs import sign_of
from anyjepa.diagnostics.verdict import COLLAPSED, NARROW, POSITIONAL
from anyjepa.report.charts import MUTED, Trace, chart, line, vertical
from anyjepa.report.contents import Contents, Curve
from anyjepa.report.markup import Html, join, note, number, tag

_SCHEDULE = r"(lr|weight_decay|momentum|samples_per_s)"
_SCORE = r"online_.*"
_EXACT = r"lr|weight_decay|momentum"
_WINDOW = 25  # logged steps in a running mean
_LARGEST = 1e300  # the axes of larger numbers overflow
_POINTS = 600


class _Panel(NamedTuple):
    """One chart. columns: pattern of the logged quantities. limits: thresholds of the verdict, with a text."""

    title: str
    columns: str
    shares: bool = False  # whether all values lie between 0 and 1
    limits: tuple[tuple[float, str], ...] = ()


def training(run: Contents) -> Html:
    """The loss terms and the scores during training; schedules and training speed are collapsed."""
    columns = drawn_columns(run)
    if not columns:
        return note("There are no curves because metrics.csv is missing or has no complete line.")
    losses = [name for name in columns if sign_of(name) is None and not re.fullmatch(f"{_SCHEDULE}|{_SCORE}", name)]
    schedules = [_Panel(name, re.escape(name)) for name in columns if re.fullmatch(_SCHEDULE, name)]
    return join(
        [
            _chart(run, "Loss", losses) if losses else note("metrics.csv has no column for the loss."),
            _panels(run, [_Panel("Macro AUROC during training, on records that are trained on", _SCORE)]),
            _folded("Schedules and speed", _panels(run, schedules)),
        ]
    )


def collapse(run: Contents) -> Html:
    """The statistics that reveal a collapse of the representation, the most telling first."""
    columns = [name for name in drawn_columns(run) if sign_of(name) is not None]
    if not columns:
        return note("metrics.csv has no column for the standard deviation, rank or uniformity of representations.")
    dim = run.setting("objective", "encoder", "dim")
    narrow = ((NARROW * dim, "token_rank: narrow below"),) if isinstance(dim, int) else ()
    between = ((COLLAPSED, "spread: collapsed below"), (POSITIONAL, "between: positions only below"))
    first = [
        _Panel("Do inputs get different representations?", r".*_(spread|between)(?<!input_between)", True, between),
        _Panel("How many dimensions are in use?", r".*_rank|.*_lidar", False, narrow),
        _Panel("Is the prediction better than a guess?", r"prediction_distance|trivial_.*"),
        _Panel("Does the prediction follow the input and the position?", r".*_skill|teacher_cosine"),
    ]
    shown = [name for name in columns if any(re.fullmatch(panel.columns, name) for panel in first)]
    rest = [_Panel(name, re.escape(name)) for name in columns if name not in shown]
    return join([_panels(run, first), _folded(f"More signs ({len(rest)})", _panels(run, rest))])


def drawn_columns(run: Contents) -> list[str]:
    """Logged quantities with at least one value, in the order of the log."""
    total = run.metrics.get("loss")
    return [
        name
        for name, curve in run.metrics.items()
        if len(curve.step)
        and not (name != "loss" and total is not None and _same(curve, total))  # the loss has a single term
    ]


def _same(a: Curve, b: Curve) -> bool:
    return np.array_equal(a.step, b.step) and np.array_equal(a.values, b.values, equal_nan=True)


def _folded(title: str, content: Html) -> Html:
    return tag("details", tag("summary", title), content) if content else content


def _panels(run: Contents, panels: Sequence[_Panel]) -> Html:
    columns = drawn_columns(run)
    named = [(panel, [name for name in columns if re.fullmatch(panel.columns, name)]) for panel in panels]
    drawn = [_chart(run, panel.title, names, panel) for panel, names in named if names]
    return tag("div", *drawn, class_="panels") if drawn else Html()


def _chart(run: Contents, title: str, names: Sequence[str], panel: _Panel | None = None) -> Html:
    """One chart of several curves; names of curves without a finite number are listed instead."""
    data: list[Trace] = []
    facts: list[Html] = []
    alts: list[str] = []
    for place, name in enumerate(names):
        step, values = run.metrics[name]
        values = np.where(np.abs(values) < _LARGEST, values, np.nan)
        finite = values[np.isfinite(values)]
        if not finite.size:
            facts.append(tag("li", f"{name}: none of {len(values)} values is a finite number.", class_="warn"))
            continue
        span = f"from {number(finite[0])} to {number(finite[-1])}"
        alts.append(f"{name} between {number(finite.min())} and {number(finite.max())}")
        facts.append(_fact(name, span, len(values) - finite.size, len(values), title))
        data += _traces(name, step, values, place)
    listed = tag("ul", *facts)
    if not data:
        return tag("div", tag("h4", title), listed)
    shares = panel is not None and panel.shares
    layout: dict[str, Any] = {
        "hovermode": "x unified",
        "hoverdistance": -1,  # the next step, however far
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"range": [0, 1.03]} if shares else {"range": _scale(data)},
        **_marks(run, panel),
    }
    return chart("; ".join(alts), data, layout, listed, 280, title)


def _traces(name: str, step: np.ndarray, values: np.ndarray, place: int) -> list[Trace]:
    """The curve; if it is long and noisy, its running mean over the faint values."""
    if len(values) <= 8 * _WINDOW or re.fullmatch(_EXACT, name):
        return [line(name, *thin(step, values), place)]
    faint = line(name, *thin(step, values), place, opacity=0.3, showlegend=False, hoverinfo="skip", hovertemplate=None)
    return [faint, line(name, *thin(step, _running_mean(values)), place)]


def _marks(run: Contents, panel: _Panel | None) -> dict[str, Any]:
    """Mark the steps at which a sign of the verdict fired, and the values below which it fires."""
    shapes: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    for finding in run.verdict.findings:
        if finding.since is not None:
            edge = {"color": "var(--warn)", "width": 2, "dash": "dash"}
            shapes.append(vertical(finding.since, edge))
            text = {"text": finding.kind, "font": {"color": "var(--warn)"}, "showarrow": False, "xanchor": "left"}
            texts.append({"x": finding.since, "yref": "paper", "y": 1 - 0.09 * len(texts), **text})
    for value, below in panel.limits if panel else ():
        edge = {"color": MUTED, "width": 1, "dash": "dot"}
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": edge})
        text = {"text": below, "font": {"color": MUTED, "size": 11}, "showarrow": False, "xanchor": "right"}
        texts.append({"xref": "paper", "x": 1, "y": value, "yanchor": "bottom", **text})
    return {"shapes": shapes, "annotations": texts}


def _fact(name: str, span: str, broken: int, count: int, title: str) -> Html:
    parts: list[object] = [tag("strong", name), f" {span}"] if name != title else [span]
    if broken:
        parts.append(tag("span", f" {broken} of {count} values are not finite or too large to draw", class_="warn"))
    if (sign := sign_of(name)) is not None:
        parts.append(f". {sign.meaning} {sign.source}".rstrip())
    return tag("li", *parts)


def _scale(data: Sequence[Trace]) -> list[float]:
    """Axis limits around all values with a margin, wide enough that rounding noise of a constant looks flat."""
    values = np.concatenate([np.asarray(trace["y"], float) for trace in data])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(0.06 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-12)
    return [low - margin, high + margin]


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values in a window of _WINDOW steps around each step; NaN if there are none."""
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0.0), np.ones(_WINDOW), "same")
    count = np.convolve(finite.astype(float), np.ones(_WINDOW), "same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0.5)


def thin(step: np.ndarray, values: np.ndarray) -> tuple[list[float], list[float]]:
    """Reduce a curve to about 2 * _POINTS points, as many as a panel can show."""
    every = max(1, len(step) // _POINTS)
    return step[::every].tolist(), values[::every].tolist()
