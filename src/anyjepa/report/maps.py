"""Values at the places of a record, drawn on it: on ECG paper, on the channels of a series, or on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.ecg.paper import MARGIN_MM, SPEED_MM_S, Cell, cells, draw_ecg, usual_layout
from anyjepa.errors import printable
from anyjepa.report.drawing import INK, SERIES, axes, blank
from anyjepa.report.mosaic import Cell as Tile
from anyjepa.report.mosaic import mosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POSITIVE, NEGATIVE = (16, 80, 208), (206, 92, 0)  # blue and orange, which suit all kinds of colour vision
OPACITY = 0.6
RHYTHM = "II"
ROW_MM = {"3x4": 30.0, "rows": 18.0}  # height of a row of leads, by layout
STRIP_MM = 3.0  # height of the strip of colours below a lead
_CHANNELS = 16  # largest number of channels of a series that are drawn
_BAND = 56  # height of a channel, pixels


def on_ecg(
    signal: np.ndarray,
    fs: float,
    leads: Sequence[str],
    values: np.ndarray | None,
    edges_s: np.ndarray,
    *,
    together: np.ndarray | None = None,
    strip: np.ndarray | None = None,
    duration_s: float = 10.0,
    title: str = "",
    unit: str = "mV",
) -> Figure:
    """An ECG on paper, with a background that is darker where values are larger.

    signal: (L, T) in `unit`. values: (L, K), or (1, K) for all leads, from edges_s[k] to edges_s[k + 1], in s.
    together: (K,) values of the rhythm strip. Blue is positive and orange is negative; full colour is the largest size
    of `values`, and of `together` for the strip. strip: (K, 3) uint8 colours to draw below each lead.
    """
    leads, layout = list(leads), usual_layout(leads)
    rhythm = RHYTHM if layout == "3x4" else None
    page = draw_ecg(
        signal,
        fs,
        leads,
        layout=layout,
        rhythm=rhythm,
        duration_s=duration_s,
        row_mm=ROW_MM[layout],
        title=title,
        unit=unit,
    )
    paper, _ = cells(leads, layout, rhythm, duration_s, ROW_MM[layout])
    by_lead = None if values is None else rgba(np.broadcast_to(values, (len(leads), values.shape[1])))
    rhythm_cell = len(paper) - 1 if rhythm else None
    for number, cell in enumerate(paper):
        low, high = cell.baseline - ROW_MM[layout] / 2 + 0.5, cell.baseline + ROW_MM[layout] / 2 - 0.5
        if by_lead is not None:
            of_lead = by_lead[leads.index(cell.lead)]
            if number == rhythm_cell and together is not None:
                of_lead = rgba(together)
            _paint(page, cell, of_lead, edges_s, low, high)
        if strip is not None:
            _paint(page, cell, opaque(strip), edges_s, low, low + STRIP_MM)
    return page


def on_series(
    signal: np.ndarray,
    values: np.ndarray | None,
    edges: np.ndarray,
    *,
    strip: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """The channels of a series (C, T), with a background and a strip as in `on_ecg`.

    values: (C, K), or (1, K) for all channels, from sample edges[k] to edges[k + 1].
    """
    shown = np.asarray(signal, float)[:_CHANNELS]
    page = blank(900, 70 + _BAND * len(shown))
    plot = axes(page, left=48, right=12, top=34)
    by_channel = None if values is None else rgba(np.broadcast_to(values, (len(signal), values.shape[1])))
    for channel, row in enumerate(shown):
        spans = []
        if by_channel is not None:
            spans.append((by_channel[channel], -0.48, 0.48))
        if strip is not None:
            spans.append((opaque(strip), 0.36, 0.48))
        for colours, low, high in spans:
            for colour, ends in zip(colours, pairwise(edges), strict=True):
                if colour[3]:
                    plot.fill_between(
                        ends, channel + low, channel + high, color=tuple(colour / 255), linewidth=0, zorder=0.5
                    )
        finite = row[np.isfinite(row)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        scaled = (row - (low + high) / 2) / max(high - low, 1e-12)
        plot.plot(channel - 0.7 * scaled, color=INK, linewidth=1)
    plot.set_yticks(range(len(shown)), [str(channel + 1) for channel in range(len(shown))], color=INK)
    plot.set_xlim(0, shown.shape[1])
    plot.set_ylim(len(shown) - 0.4, -0.6)
    plot.grid(visible=False)
    more = "" if len(shown) == len(signal) else f" ({len(shown)} of {len(signal)} are shown)"
    plot.set_xlabel(f"sample; each row is a channel, scaled to its own range{more}")
    if title:
        page.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
    return page


def on_pictures(
    pictures: Sequence[np.ndarray],
    below: Sequence[np.ndarray],
    names: Sequence[str] = (),
    *,
    side: int = 112,
    title: str = "",
) -> Figure:
    """Pictures (H, W, C) uint8 in a row, and others below them, such as `tinted` copies."""
    names = names or [""] * len(pictures)
    page = mosaic(
        [[Tile(*pair) for pair in zip(pictures, names, strict=True)], [Tile(one) for one in below]], side=side
    )
    if title:
        (width, height), top = page.get_size_inches() * 72, 26 + 14 * title.count("\n")
        page.set_size_inches(max(width, 400) / 72, (height + top) / 72)
        page.axes[0].set_position((0, 0, width / max(width, 400), height / (height + top)))
        page.suptitle(title, x=0.01, y=0.99, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    return page


def on_names(names: Sequence[str], values: np.ndarray, *, title: str = "", what: str = "") -> Figure:
    """The 20 largest values (N,), positive or negative, as bars with their names."""
    order = np.argsort(-np.abs(values), kind="stable")[:20][::-1]
    page = blank(560, 70 + 20 * len(order))
    plot = axes(page, left=190, right=16, top=30)
    plot.barh(range(len(order)), values[order], color=[SERIES[0] if v >= 0 else SERIES[1] for v in values[order]])
    plot.set_yticks(range(len(order)), [printable(str(names[place]))[:26] for place in order], color=INK)
    plot.set_xlabel(what)
    plot.grid(axis="y", visible=False)
    if title:
        page.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
    return page


def rgba(values: np.ndarray) -> np.ndarray:
    """Convert values (...) to colours (..., 4) uint8: blue if positive, orange if negative, more opaque if larger.

    NaN is transparent.
    """
    values = np.nan_to_num(np.asarray(values, float))
    share = np.abs(values) / max(float(np.abs(values).max(initial=0.0)), 1e-12)
    colour = np.where(values[..., None] >= 0, POSITIVE, NEGATIVE)
    return np.concatenate([colour, np.round(255 * OPACITY * share)[..., None]], -1).astype(np.uint8)


def opaque(colours: np.ndarray) -> np.ndarray:
    """Convert colours (..., 3) uint8 to opaque colours (..., 4)."""
    return np.concatenate([colours, np.full_like(colours[..., :1], 255)], -1)


def tinted(picture: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A pale grey copy of a picture (H, W, C) uint8 under colours (rows, columns, 4), (H, W, 3) uint8."""
    rows, columns = (np.arange(size) * n // size for size, n in zip(picture.shape[:2], colours.shape, strict=False))
    over = colours[rows[:, None], columns].astype(float)
    grey = 128 + picture.mean(-1, keepdims=True) / 2
    opacity = over[..., 3:] / 255 / OPACITY * 0.85
    return (grey * (1 - opacity) + over[..., :3] * opacity).round().astype(np.uint8)


def _paint(page: Figure, cell: Cell, colours: np.ndarray, edges_s: np.ndarray, low: float, high: float) -> None:
    """Paint behind a lead on paper, between two heights in mm. colours: (K, 4)."""
    for colour, (first, end) in zip(colours, pairwise(edges_s), strict=True):
        left, right = max(float(first), cell.start_s), min(float(end), cell.end_s)
        if right > left and colour[3]:
            x = [MARGIN_MM + side * SPEED_MM_S for side in (left, right)]
            page.axes[0].fill_between(x, low, high, color=tuple(colour / 255), linewidth=0, zorder=0.5)
