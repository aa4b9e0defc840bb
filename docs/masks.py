"""Draws masks.png, the picture of the README: what the encoder sees of an ECG and of an image, and what it predicts.

python docs/masks.py [OUTPUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.ecg.simulated.simulator import simulate as simulate_ecgs
from anyjepa.data.images.simulator import ImageSimulatorConfig
from anyjepa.data.images.simulator import simulate as simulate_images
from anyjepa.masks.base import members
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.spans import SpanConfig

LEADS = {0: "I", 1: "II", 6: "V1", 7: "V2", 9: "V4", 11: "V6"}
HIDDEN, VISIBLE, LABEL = "#e4e7ea", "#0067a9", "#5d6872"
PATCH_S, DURATION_S = 0.05, 5.0  # of an ECG
GRID = 8  # tokens along each side of an image of 32 x 32 pixels


def draw_ecg(axes: Axes) -> None:
    """Six leads of one ECG; the spans of time that the encoder does not see are grey in all of them."""
    (ecg,) = simulate_ecgs(SimulatorConfig(patients=1, fs=500, duration_s=DURATION_S, seed=3))
    config, tokens = SpanConfig(), round(DURATION_S / PATCH_S)
    uniforms = np.random.default_rng(11).random((1, config.draws((tokens,))[1]))
    hidden = np.isin(np.arange(tokens), config.sample((tokens,), np.array([0.5]), uniforms)[0].targets)
    seconds = np.arange(ecg.signal.shape[1]) / ecg.fs
    hidden_samples = np.repeat(hidden, ecg.signal.shape[1] // tokens)
    for row, (lead, name) in enumerate(LEADS.items()):
        trace = ecg.signal[lead] - 2 * row
        axes.plot(seconds, trace, color="#a9b2ba", linewidth=0.8)
        axes.plot(seconds, np.where(hidden_samples, np.nan, trace), color=VISIBLE, linewidth=1.1)
        axes.text(-0.04, -2 * row, name, ha="right", va="center", color=LABEL, fontsize=9)
    for token in np.flatnonzero(hidden):
        axes.axvspan(token * PATCH_S, (token + 1) * PATCH_S, color=HIDDEN, linewidth=0, zorder=0)
    axes.set_xlim(0, DURATION_S)
    axes.set_title("ECG: predict the grey spans from the blue ones", fontsize=10, loc="left", pad=6)
    axes.axis("off")


def draw_images(rows: np.ndarray) -> None:
    """rows: axes (images, 6). Each row is an image, the part that the encoder sees, and the four blocks it predicts."""
    images = simulate_images(ImageSimulatorConfig(train=40, test=8)).images[[0, 8, 21]]
    (masks,) = BlocksConfig().draw((GRID, GRID), len(images), np.random.default_rng(0))
    assert masks.targets_valid is not None  # blocks differ in size
    seen = members(masks.context, masks.context_valid, GRID**2)
    blocks = [members(masks.targets[:, m], masks.targets_valid[:, m], GRID**2) for m in range(4)]
    columns = {"image": seen >= 0, "seen": seen, **{f"predict {m}": b for m, b in enumerate(blocks, 1)}}
    for column, (title, tokens) in enumerate(columns.items()):
        pixels = (tokens > 0).reshape(-1, GRID, GRID).repeat_interleave(4, 1).repeat_interleave(4, 2).numpy()
        for axes, image, visible in zip(rows[:, column], images, pixels, strict=True):
            axes.imshow(np.where(visible[..., None], image / 255, 0.9))
            axes.axis("off")
        rows[0, column].set_title(title, fontsize=9, color=LABEL, pad=4)


def main(output: Path) -> None:
    figure = plt.figure(figsize=(9.2, 3.1), facecolor="white")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.12))
    draw_ecg(left.add_axes((0.08, 0.02, 0.88, 0.87)))
    right.suptitle("Images: predict each block from what is seen", fontsize=10, x=0.02, ha="left", y=0.975)
    draw_images(
        right.subplots(
            3, 6, gridspec_kw={"left": 0.02, "right": 0.99, "top": 0.83, "bottom": 0.02, "wspace": 0.08, "hspace": 0.08}
        )
    )
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
