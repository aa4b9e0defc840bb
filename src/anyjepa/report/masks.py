"""The mask drawn on the signal it hides: what the student saw of one sample, and what it had to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.ecg.paper import MARGIN_MM, SPEED_MM_S, draw_ecg
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import draw
from anyjepa.report.markup import Html, figure, note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HIDDEN = "#55606a"
_LONGEST_S = 10.0


def masks(run: Contents) -> Html:
    """ECG paper with the hidden spans shaded; every lead of a hidden span is hidden.

    `artifacts/masks.npz` holds signal (L, T) in mV, fs in Hz, leads (L,), context (K,) and targets (T,) as token
    numbers, patch: samples of a token.
    """
    if run.masks is None:
        return note("Not drawn: artifacts/masks.npz is missing or not readable.")
    try:
        return _masks(**{name: run.masks[name] for name in ("signal", "fs", "leads", "context", "targets", "patch")})
    except Exception as error:  # arrays of someone else's can fail anywhere in NumPy or Matplotlib
        return note(f"Not drawn: artifacts/masks.npz does not fit: {str(error) or type(error).__name__}")


def _masks(
    signal: np.ndarray, fs: np.ndarray, leads: np.ndarray, context: np.ndarray, targets: np.ndarray, patch: np.ndarray
) -> Html:
    rate, samples = float(fs), float(patch)
    if not (0 < rate < 1e6 and 0 < samples < 1e6):
        raise ValueError(f"fs is {rate:g} Hz, a patch {samples:g} samples")
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

    seen, predicted = len(np.unique(context)), len(np.unique(targets))
    text = (
        f"Shaded: {predicted} tokens in {len(hidden)} spans that the student did not see; their representations had to "
        f"be predicted. Unshaded: the {seen} tokens it saw. A token is {patch_s * 1000:.0f} ms of all leads."
    )
    return figure(draw(f"ECG with masks drawn on it. {text}", make), text, class_="paper")


def spans(tokens: np.ndarray) -> list[tuple[int, int]]:
    """Runs of consecutive numbers in increasing `tokens`, as (first, one past the last)."""
    if not len(tokens):
        return []
    runs = np.split(tokens, np.flatnonzero(np.diff(tokens) > 1) + 1)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs]
