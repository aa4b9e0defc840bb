"""Draws method.png, the figure of docs/method.md: an image on its way through masked prediction.

python docs/method.py [OUTPUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

SIDE = 6  # tokens along each side of the image
BLOCKS = [(0, 3, 2, 2), (3, 0, 2, 2), (4, 4, 2, 2)]  # target blocks: first row, first column, rows, columns
VISIBLE, EMPTY, TEXT, MODULE = "#0067a9", "#e4e7ea", "#2b333a", "#f4f6f8"
COLOURS = ["#d1742c", "#4f8f46", "#8a5aa8"]  # of the blocks


def colours(context: bool) -> list[list[str]]:
    """The colour of each token: the visible ones, or those of the target blocks."""
    grid = [[VISIBLE if context else EMPTY] * SIDE for _ in range(SIDE)]
    for (top, left, rows, columns), colour in zip(BLOCKS, COLOURS, strict=True):
        for row in range(top, top + rows):
            for column in range(left, left + columns):
                grid[row][column] = EMPTY if context else colour
    return grid


def draw_tokens(axes: Axes, x: float, y: float, grid: list[list[str]], label: str) -> None:
    """A token grid with its lower left corner at (x, y) and a label below it."""
    size = 0.15
    for row, line in enumerate(grid):
        for column, colour in enumerate(line):
            corner = (x + column * size, y + (SIDE - 1 - row) * size)
            axes.add_patch(Rectangle(corner, 0.9 * size, 0.9 * size, color=colour, linewidth=0))
    axes.text(x + SIDE * size / 2, y - 0.12, label, ha="center", va="top", fontsize=9, color=TEXT)


def draw_module(axes: Axes, x: float, y: float, symbol: str, name: str) -> None:
    """A box for a network, centred at (x, y)."""
    box = FancyBboxPatch((x - 0.5, y - 0.3), 1.0, 0.6, "round,pad=0.04", facecolor=MODULE, edgecolor=TEXT)
    axes.add_patch(box)
    axes.text(x, y + 0.09, symbol, ha="center", va="center", fontsize=13, color=TEXT)
    axes.text(x, y - 0.17, name, ha="center", va="center", fontsize=8.5, family="monospace", color=TEXT)


def draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str = "", style: str = "-"
) -> None:
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=TEXT, linestyle=style, linewidth=1)
    axes.add_patch(arrow)
    if label:
        axes.text((start[0] + end[0]) / 2, start[1] + 0.07, label, ha="center", fontsize=11, color=TEXT)


def main(output: Path) -> None:
    figure, axes = plt.subplots(figsize=(8.6, 3.5))
    up, down = 2.15, 0.55  # heights of the upper and the lower path
    draw_tokens(axes, 0.0, up - 0.45, colours(context=True), "context: visible tokens")
    draw_module(axes, 2.3, up, r"$f_\theta$", "student")
    draw_module(axes, 4.3, up, r"$g_\phi$", "predictor")
    draw_tokens(axes, 5.7, up - 0.45, colours(context=False), "predictions")
    draw_tokens(axes, 0.0, down - 0.45, [[VISIBLE] * SIDE for _ in range(SIDE)], "the whole input")
    draw_module(axes, 2.3, down, r"$f_{\bar\theta}$", "target")
    draw_tokens(axes, 5.7, down - 0.45, colours(context=False), "targets: the M blocks")
    draw_arrow(axes, (1.05, up), (1.72, up))
    draw_arrow(axes, (2.88, up), (3.72, up), "$s_x$")
    draw_arrow(axes, (4.88, up), (5.6, up), r"$\hat s_y$")
    draw_arrow(axes, (4.3, up + 0.75), (4.3, up + 0.38))
    axes.text(4.3, up + 0.8, "mask tokens at the places to predict", ha="center", fontsize=9, color=TEXT)
    draw_arrow(axes, (1.05, down), (1.72, down))
    draw_arrow(axes, (2.88, down), (5.6, down), "$s_y$")
    draw_arrow(axes, (2.3, up - 0.38), (2.3, down + 0.38), style="--")
    axes.text(2.4, (up + down) / 2, "moving average\nof the weights", va="center", fontsize=9, color=TEXT)
    for height in (up, down):
        draw_arrow(axes, (6.72, height), (7.3, (up + down) / 2 + (0.15 if height == up else -0.15)))
    axes.text(7.35, (up + down) / 2, r"$d(\hat s_y, s_y)$", va="center", fontsize=13, color=TEXT)
    axes.set_xlim(-0.1, 8.4)
    axes.set_ylim(-0.2, 3.15)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.savefig(output, dpi=110, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
