"""Draw on records of the run where prediction is hard, and which places have similar tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.errors import reason
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import draw
from anyjepa.report.maps import on_ecg, on_names, on_pictures, on_series, rgba, tinted
from anyjepa.report.markup import Html, figure, join, note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = dict[str, np.ndarray]
LONGEST_S = 10.0


def errors(run: Contents) -> Html:
    """A figure of the prediction error at each place; empty if `artifacts/places.npz` has none."""
    return _section(run, "errors", "Prediction error.", error_text, error_figure)


def tokens(run: Contents) -> Html:
    """A figure of the tokens of each place as colours; empty if there is no `artifacts/places.npz`."""
    return _section(run, "colours", "Tokens as colours.", colour_text, colour_figure)


def error_figure(arrays: Arrays, record: int = 0) -> Figure:
    """The errors (n, *grid) above the smallest one, as blue on a signal or on all pictures; of genes as bars.

    See `place_arrays` and `gene_errors`.
    """
    if "genes" in arrays:
        return on_names(arrays["genes"].tolist(), arrays["errors"], what="mean error; the largest 20 are shown")
    values = arrays["errors"] - np.nanmin(arrays["errors"])
    if "signals" in arrays:
        return _on_signal(arrays, record, values=values[record][None])
    return _on_pictures(arrays, [rgba(one) for one in _by_picture(arrays, values)])


def colour_figure(arrays: Arrays, record: int = 0) -> Figure:
    """The colours (n, *grid, 3) below each channel of a signal, or below all pictures. See `place_arrays`."""
    if "signals" in arrays:
        return _on_signal(arrays, record, strip=arrays["colours"][record])
    return _on_pictures(arrays, list(_by_picture(arrays, arrays["colours"])), tint=False)


def error_text(arrays: Arrays) -> str:
    """A caption in one line."""
    if "genes" in arrays:
        count = len(arrays["genes"])
        return f"Mean error of {count} groups of genes, when they are predicted for a perturbed cell."
    low, high = np.nanmin(arrays["errors"]), np.nanmax(arrays["errors"])
    return f"Mean error of each hidden place, from {low:.3g} (no colour) to {high:.3g} (full blue)."


def colour_text(arrays: Arrays) -> str:
    """A caption in one line."""
    share = float(arrays["explained"])
    return f"Similar colours mean similar tokens: the first three principal components ({share:.0%} of the variance)."


def _section(
    run: Contents, key: str, alt: str, text: Callable[[Arrays], str], make: Callable[[Arrays, int], Figure]
) -> Html:
    if run.places is None or key not in run.places:
        return Html()
    arrays = run.places
    try:
        count = len(arrays["signals"]) if "signals" in arrays else 1
        class_, shown = "paper" if str(arrays["kind"]) == "ecg" else None, text(arrays)
        alts = [alt + (f" Record {n + 1}." if count > 1 else "") for n in range(count)]
        return join(
            figure(draw(one, partial(make, arrays, n)), shown if n == count - 1 else "", class_)
            for n, one in enumerate(alts)
        )
    except Exception as error:  # arrays from other programs can fail anywhere in NumPy or Matplotlib
        return note(f"The contents of artifacts/places.npz could not be drawn: {reason(error)}")


def _on_signal(
    arrays: Arrays, record: int, values: np.ndarray | None = None, strip: np.ndarray | None = None
) -> Figure:
    signal, patch = arrays["signals"][record], int(arrays["patch"])
    places = strip if values is None else values[0]
    assert places is not None
    edges = patch * np.arange(len(places) + 1)
    if str(arrays["kind"]) != "ecg":
        return on_series(signal, values, edges, strip=strip)
    rate = float(arrays["fs"])
    leads = [str(lead) for lead in arrays["leads"]]
    duration = min(signal.shape[1] / rate, LONGEST_S)
    unit = str(arrays.get("unit", "mV"))
    return on_ecg(signal, rate, leads, values, edges / rate, strip=strip, duration_s=duration, unit=unit)


def _on_pictures(arrays: Arrays, colours: list[np.ndarray], tint: bool = True) -> Figure:
    pictures = arrays["pictures"].reshape(-1, *arrays["pictures"].shape[2:])  # (n * F, h, w, C)
    below = [tinted(*pair) for pair in zip(pictures, colours, strict=True)] if tint else colours
    frames = [f"frame {frame + 1}" for frame in arrays["frames"]] if len(arrays["frames"]) > 1 else []
    return on_pictures(list(pictures), below, frames * len(arrays["pictures"]))


def _by_picture(arrays: Arrays, values: np.ndarray) -> np.ndarray:
    """Values (n, *grid, ...) of images, or of clips at the drawn frames, (n * F, rows, columns, ...)."""
    if str(arrays["kind"]) == "images":
        return values
    times = arrays["frames"] // int(arrays["patch"])
    return values[:, times].reshape(-1, *values.shape[2:])
