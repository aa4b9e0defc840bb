"""Training curves: one small panel per logged quantity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.diagnostics.signs import sign_of
from anyjepa.report.contents import Contents, Curve
from anyjepa.report.drawing import SERIES, axes, blank, draw, scale
from anyjepa.report.markup import Html, figure, join, note, number, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCHEDULE = r"^(lr|weight_decay|momentum|samples_per_s)$"
_SCORE = r"^online_"
_EXACT = r"^(lr|weight_decay|momentum)$"
_WINDOW = 25  # logged steps
_LARGEST = 1e300  # the axes of larger numbers overflow
_POINTS = 600


def training(run: Contents) -> Html:
    """Panels of the loss terms, then of the schedules and the training speed."""
    columns = drawn_columns(run)
    if not columns:
        return note("There are no curves because metrics.csv is missing or has no complete line.")
    losses = [name for name in columns if not re.search(f"{_SCHEDULE}|{_SCORE}", name) and sign_of(name) is None]
    scores = [name for name in columns if re.search(_SCORE, name)]
    schedules = [name for name in columns if re.search(_SCHEDULE, name)]
    return join(
        [
            tag("h3", "Loss terms") if losses else note("metrics.csv has no column for the loss."),
            _panels(run, losses, SERIES[0]),
            tag("h3", "Macro AUROC during training, on records that are trained on") if scores else "",
            _panels(run, scores, SERIES[2]),
            tag("h3", "Schedules and speed") if schedules else "",
            _panels(run, schedules, SERIES[1]),
        ]
    )


def collapse(run: Contents) -> Html:
    """Panels of the statistics that reveal a collapse of the representation."""
    columns = [name for name in drawn_columns(run) if sign_of(name) is not None]
    if not columns:
        return note("metrics.csv has no column for the standard deviation, rank or uniformity of representations.")
    return _panels(run, columns, SERIES[2])


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


def _panels(run: Contents, names: list[str], colour: str) -> Html:
    return tag("div", *(_panel(name, run.metrics[name], colour) for name in names), class_="panels")


def _panel(name: str, curve: Curve, colour: str) -> Html:
    step, values = curve
    values = np.where(np.abs(values) < _LARGEST, values, np.nan)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return note(f"{name}: none of {len(values)} values is a finite number.")
    noisy = len(values) > 8 * _WINDOW and not re.search(_EXACT, name)

    def make() -> Figure:
        page = blank(340, 190)
        plot = axes(page, left=54)
        if noisy:
            plot.plot(*_thin(step, values), color=colour, alpha=0.3, linewidth=0.8)
        shown = _running_mean(values) if noisy else np.where(np.isfinite(values), values, np.nan)
        plot.plot(*_thin(step, shown), color=colour, marker="o" if len(values) == 1 else None)
        plot.set_ylim(*scale(finite))
        plot.locator_params(nbins=4)
        plot.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        plot.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        plot.set_xlabel("step")
        return page

    span = f"from {number(finite[0])} to {number(finite[-1])}"
    alt = f"{name} over {len(values)} logged steps, {span}, between {number(finite.min())} and {number(finite.max())}"
    return figure(draw(alt, make), _caption(name, span, len(values) - finite.size, len(values)))


def _caption(name: str, span: str, broken: int, count: int) -> Html:
    parts: list[object] = [tag("strong", name), f" {span}"]
    if broken:
        parts.append(tag("span", f" {broken} of {count} values are not finite or too large to draw", class_="warn"))
    if (sign := sign_of(name)) is not None:
        parts.append(tag("span", f"{sign.meaning} {sign.source}".strip(), class_="meaning"))
    return join(parts)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values in a window of _WINDOW steps around each step; NaN if there are none."""
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0.0), np.ones(_WINDOW), "same")
    count = np.convolve(finite.astype(float), np.ones(_WINDOW), "same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0.5)


def _thin(step: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a curve to about 2 * _POINTS points, as many as a panel can show."""
    every = max(1, len(step) // _POINTS)
    return step[::every], values[::every]
