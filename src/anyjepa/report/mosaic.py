"""A grid of small pictures with titles: images as pixels, series as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anyjepa.report.drawing import INK, MUTED, SERIES, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAT = (61, 143, 192)  # visible on a light and on a dark page
VEIL, VEILED = 128, 0.45  # grey level and opacity of hidden pixels, which differ from black and white on any page
_GAP, _TITLE, _LETTER = 8, 18, 7  # pixels; letters are 12 high and about 7 wide
_SERIES = 8  # largest number of channels that are drawn


class Cell(NamedTuple):
    """picture: (H, W, 1, 3 or 4) uint8, or a standardised series (C, T). title: text above the picture."""

    picture: np.ndarray
    title: str = ""


def mosaic(rows: Sequence[Sequence[Cell]], names: Sequence[str] = (), side: int = 96) -> Figure:
    """Draw rows of square cells with sides of `side` pixels, and `names` to the left of the rows.

    A title that is wider than its cell is cut.
    """
    titled = [any(cell.title for cell in row) for row in rows]
    left = _LETTER * max((len(name) for name in names), default=0) + (_GAP if names else 0)
    width = left + max(map(len, rows)) * (side + _GAP)
    height = sum(side + _GAP + (_TITLE if has else 0) for has in titled)
    page = blank(width, height)
    plot = page.add_axes((0, 0, 1, 1))
    plot.axis("off")
    top = 0
    for number, (row, has) in enumerate(zip(rows, titled, strict=True)):
        top += _TITLE if has else 0
        if names:
            plot.text(0, top + side / 2, names[number], va="center", color=MUTED)
        for place, (picture, title) in enumerate(row):
            x = left + place * (side + _GAP)
            _paint(plot, picture, x, top, side)
            plot.text(x, top - 5, title[: side // _LETTER + 1], color=INK)
        top += side + _GAP
    plot.set_xlim(0, width)
    plot.set_ylim(height, 0)
    return page


def shown(picture: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Convert a picture (H, W, C) uint8 to (H, W, 4), with grey where tokens (rows, columns) is False."""
    rows, columns = (np.arange(size) * n // size for size, n in zip(picture.shape[:2], tokens.shape, strict=True))
    visible = tokens[rows[:, None], columns][..., None]
    colours = np.where(visible, _rgb(picture), (_rgb(picture) // 4 + VEIL * 3 // 4)).astype(np.uint8)
    return np.dstack([colours, np.where(visible, 255, round(255 * VEILED)).astype(np.uint8)])


def heat(values: np.ndarray) -> np.ndarray:
    """Convert non-negative values (rows, columns) to a heat map (rows, columns, 4) uint8 of one hue.

    It is transparent at 0 and opaque at the largest value. Raises ValueError for values that are not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("values are not finite")
    opacity = np.round(255 * np.clip(values / max(float(values.max()), 1e-12), 0, 1)).astype(np.uint8)
    return np.dstack([*(np.full_like(opacity, level) for level in HEAT), opacity])


def _rgb(picture: np.ndarray) -> np.ndarray:
    return np.broadcast_to(picture, (*picture.shape[:2], 3)) if picture.shape[2] == 1 else picture


def _paint(plot: Axes, picture: np.ndarray, x: float, top: float, side: float) -> None:
    if picture.ndim == 3:
        plot.imshow(_rgb(picture), extent=(x, x + side, top + side, top), interpolation="none", aspect="auto")
        return
    band = side / min(len(picture), _SERIES)
    for channel, values in enumerate(picture[:_SERIES]):
        middle = top + (channel + 0.5) * band
        places = np.linspace(x, x + side, len(values))
        plot.plot(places, middle - np.clip(values / 3, -1, 1) * band / 2, color=SERIES[channel], linewidth=1)
