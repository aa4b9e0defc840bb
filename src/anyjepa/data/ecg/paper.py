"""Draw an ECG on ECG paper in true size: 25 mm per second, 10 mm per millivolt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from anyjepa.data.ecg.leads import LEADS
from anyjepa.errors import InputError, did_you_mean, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEED_MM_S = 25.0
GAIN_MM_MV = 10.0
MARGIN_MM = 15.0  # left of the traces, for the calibration pulse
_INK, _COARSE, _FINE = "#111111", "#e8a0a0", "#f6dada"

Layout = Literal["3x4", "6x2", "rows"]


def draw_ecg(
    signal: np.ndarray,
    fs: float,
    leads: Sequence[str] = LEADS,
    *,
    layout: Layout = "3x4",
    rhythm: str | None = "II",
    duration_s: float = 10.0,
    row_mm: float = 30.0,
    title: str = "",
    unit: str = "mV",
) -> Figure:
    """Draw the first `duration_s` seconds of a record; NaN leaves a gap.

    signal: (L, T) in `unit`. fs in Hz. layout: '3x4' or '6x2' cells of consecutive time as in a standard printout, or
    'rows', one whole row per lead in the order of `leads`. rhythm: lead that is drawn whole below the cells, or None.
    The units of the axes are mm, with the origin at the lower left of the paper; save the figure with any dpi.
    Raises InputError if a lead of the layout is missing.
    """
    from matplotlib.figure import Figure

    signal, leads = np.asarray(signal, float), list(leads)
    if signal.ndim != 2 or len(signal) != len(leads):
        raise InputError(f"draw_ecg: there are {len(leads)} leads, but the signal has shape {signal.shape}")
    paper, (width, height) = cells(leads, layout, rhythm, duration_s, row_mm)
    figure = Figure(figsize=(width / 25.4, height / 25.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    _grid(axes, width, height)
    for cell in paper:
        _trace(axes, signal[leads.index(cell.lead)], fs, cell)
    note = f"{SPEED_MM_S:g} mm/s   {GAIN_MM_MV:g} mm/{unit}   {fs:g} Hz"
    axes.text(width - 3, 1.5, note, ha="right", va="bottom", fontsize=7, color=_INK)
    axes.text(3, height - 1.5, printable(title), ha="left", va="top", fontsize=9, color=_INK, parse_math=False)
    return figure


class Cell(NamedTuple):
    """A lead's place on the paper. x: its left end, mm. baseline: height of 0 mV above the lower edge, mm."""

    lead: str
    x: float
    baseline: float
    start_s: float
    end_s: float


def cells(
    leads: Sequence[str], layout: Layout, rhythm: str | None, duration_s: float, row_mm: float
) -> tuple[list[Cell], tuple[float, float]]:
    """Where each lead is drawn, and the width and height of the paper in mm. Raises InputError for a missing lead."""
    rows = _rows(layout, list(leads), rhythm)
    absent = [lead for row in rows for lead in row if lead not in leads]
    if absent:
        raise InputError(f"draw_ecg: layout '{layout}' shows lead '{absent[0]}'{did_you_mean(absent[0], leads)}")
    size = _whole_squares(MARGIN_MM + duration_s * SPEED_MM_S + 5), _whole_squares(len(rows) * row_mm + 10)
    places = []
    for number, row in enumerate(rows):
        part_s, baseline = duration_s / len(row), size[1] - 5 - row_mm * (number + 0.5)
        for column, lead in enumerate(row):
            start = column * part_s
            places.append(Cell(lead, MARGIN_MM + start * SPEED_MM_S, baseline, start, start + part_s))
    return places, size


def usual_layout(leads: Sequence[str]) -> Layout:
    """The standard layout if all twelve leads are there, otherwise whole rows."""
    return "3x4" if set(LEADS) <= set(leads) else "rows"


def _rows(layout: Layout, leads: list[str], rhythm: str | None) -> Sequence[Sequence[str]]:
    """Leads in each row, from top to bottom."""
    if layout == "rows":
        return [[lead] for lead in leads]
    height = 3 if layout == "3x4" else 6
    return [*(LEADS[row::height] for row in range(height)), *([[rhythm]] if rhythm else [])]


def _whole_squares(mm: float) -> float:
    return float(5 * np.ceil(mm / 5))


def _grid(axes: Axes, width: float, height: float) -> None:
    for step, colour, weight in ((1, _FINE, 0.4), (5, _COARSE, 0.6)):
        axes.vlines(np.arange(0, width + 1, step), 0, height, colour, linewidth=weight, zorder=0)
        axes.hlines(np.arange(0, height + 1, step), 0, width, colour, linewidth=weight, zorder=0)


def _calibration(axes: Axes, baseline: float) -> None:
    """Draw the calibration pulse of 1 mV and 200 ms."""
    x, up = np.array([5, 7, 7, 12, 12, 14]), np.array([0, 0, 1, 1, 0, 0])
    axes.plot(x, baseline + GAIN_MM_MV * up, color=_INK, linewidth=0.7)


def _trace(axes: Axes, values: np.ndarray, fs: float, cell: Cell) -> None:  # values (T,) mV
    first, last = round(cell.start_s * fs), round(cell.end_s * fs)
    part = values[first : last + 1]
    x = MARGIN_MM + (first + np.arange(len(part))) / fs * SPEED_MM_S
    axes.plot(x, cell.baseline + GAIN_MM_MV * part, color=_INK, linewidth=0.7)
    if cell.start_s:
        axes.plot([cell.x, cell.x], [cell.baseline - 6, cell.baseline - 3], color=_INK, linewidth=0.7)
    else:
        _calibration(axes, cell.baseline)
    name = printable(cell.lead)
    axes.text(cell.x + 1, cell.baseline + 9, name, fontsize=8, color=_INK, weight="bold", parse_math=False)
