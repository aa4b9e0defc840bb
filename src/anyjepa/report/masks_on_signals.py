"""Masks drawn on the signal: on ECG paper, or on the channels of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.ecg.paper import MARGIN_MM, SPEED_MM_S, draw_ecg
from anyjepa.report.drawing import INK, MUTED, SERIES, axes, blank, draw
from anyjepa.report.markup import Html, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HIDDEN = "#55606a"
_LONGEST_S = 10.0
_CHANNELS = 16  # largest number of channels that are drawn


def on_ecg(arrays: dict[str, np.ndarray]) -> Html:
    """Draw an ECG on ECG paper with the hidden spans shaded. A span is hidden in all leads.

    arrays: signal (L, T) in mV, fs in Hz, leads (L,), context (K,) and targets (T,) as token numbers, and patch, the
    samples per token.
    """
    signal, leads, context, targets = (arrays[name] for name in ("signal", "leads", "context", "targets"))
    rate, samples = float(arrays["fs"]), float(arrays["patch"])
    if not (0 < rate < 1e6 and 0 < samples < 1e6):
        raise ValueError(f"fs {rate:g} Hz and patch {samples:g} samples must be positive")
    patch_s = samples / rate
    duration = min(signal.shape[-1] / rate, _LONGEST_S)
    hidden = spans(np.unique(targets))

    def make() -> Figure:
        page = draw_ecg(signal, rate, [str(lead) for lead in leads], layout="rows", duration_s=duration, row_mm=18)
        paper = page.axes[0]
        for first, stop in hidden:
            left, right = (MARGIN_MM + min(edge * patch_s, duration) * SPEED_MM_S for edge in (first, stop))
            paper.axvspan(left, right, color=_HIDDEN, alpha=0.28, linewidth=0, zorder=1)
        return page

    text = f"{_counts(context, targets)} A token covers {patch_s * 1000:.0f} ms of all leads."
    return figure(draw(f"ECG with masks drawn on it. {text}", make), text, class_="paper")


def on_series(arrays: dict[str, np.ndarray]) -> Html:
    """Draw the channels of a series, one per row, with the hidden spans shaded.

    arrays: as in `on_ecg`, without fs and leads.
    """
    signal, context, targets, patch = (arrays[name] for name in ("signal", "context", "targets", "patch"))
    samples, signal = int(patch), np.asarray(signal, float)
    if samples < 1 or signal.ndim != 2 or not signal.size:
        raise ValueError(f"patch is {samples} samples and the signal has shape {signal.shape}")
    drawn = signal[:_CHANNELS]
    hidden = spans(np.unique(targets))

    def make() -> Figure:
        page = blank(900, 46 + 48 * len(drawn))
        plot = axes(page, left=40, right=12)
        for first, stop in hidden:
            plot.axvspan(first * samples, min(stop * samples, signal.shape[1]), color=MUTED, alpha=0.22, linewidth=0)
        for channel, values in enumerate(drawn):
            low, high = np.nanmin(values), np.nanmax(values)
            scaled = (values - (low + high) / 2) / max(high - low, 1e-12)
            plot.plot(channel - 0.9 * scaled, color=SERIES[0], linewidth=1)
        plot.set_yticks(range(len(drawn)), [str(channel + 1) for channel in range(len(drawn))], color=INK)
        plot.set_xlim(0, signal.shape[1])
        plot.set_ylim(len(drawn) - 0.4, -0.6)
        plot.grid(visible=False)
        plot.set_xlabel("sample; each row is a channel, scaled to its own range")
        return page

    more = "" if len(drawn) == len(signal) else f" {len(drawn)} of {len(signal)} channels are shown."
    text = f"{_counts(context, targets)} A token covers {samples} samples of all channels.{more}"
    return figure(draw(f"Series with masks drawn on it. {text}", make), text)


def _counts(context: np.ndarray, targets: np.ndarray) -> str:
    visible, predicted, hidden = len(np.unique(context)), len(np.unique(targets)), len(spans(np.unique(targets)))
    return (
        f"Shaded: {predicted} tokens in {hidden} spans that the encoder did not see and whose representations are "
        f"predicted. Unshaded: the {visible} tokens that it saw."
    )


def spans(tokens: np.ndarray) -> list[tuple[int, int]]:
    """Runs of consecutive numbers in the increasing `tokens`, as (first, last + 1)."""
    if not len(tokens):
        return []
    runs = np.split(tokens, np.flatnonzero(np.diff(tokens) > 1) + 1)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs]
