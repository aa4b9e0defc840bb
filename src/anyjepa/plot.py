"""Figures of records, embeddings and cells, for notebooks and papers: `anyjepa.plot.ecg(signal, fs=500)`.

Every function returns a matplotlib figure, which a notebook shows and `figure.savefig("name.pdf")` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.array_likes import as_array
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.paper import Layout, draw_ecg, usual_layout
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.modalities import modality_of
from anyjepa.errors import InputError, printable
from anyjepa.perturbation.predictions.pictures import predicted_against_measured, ranked_genes, volcano
from anyjepa.report.drawing import INK, MUTED, SERIES, axes, blank, styled
from anyjepa.report.embedding import principal_components
from anyjepa.report.maps import on_ecg, on_names, on_pictures, on_series, rgba, tinted
from anyjepa.report.places import colour_figure, error_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyjepa.runs.explain import Explanation
    from anyjepa.runs.model import Model

__all__ = [
    "LEADS",
    "clip",
    "ecg",
    "embedding",
    "explanation",
    "image",
    "predicted_against_measured",
    "prediction_error",
    "ranked_genes",
    "series",
    "tokens",
    "volcano",
]

_ROWS = 64  # of a picture; the paper of an ECG is then 2 m high
_FRAMES = 8  # of a clip
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
_CLASSES = 16  # with a colour and marker of their own


def ecg(
    signal: np.ndarray,
    *,
    fs: float,
    leads: Sequence[str] = LEADS,
    layout: Layout | None = None,
    start_s: float = 0.0,
    duration_s: float = 10.0,
    title: str = "",
) -> Figure:
    """An ECG on paper in true size, 25 mm/s and 10 mm/mV.

    signal: (L, T) in mV; NaN leaves a gap. fs: Hz. layout: '3x4' (the default with twelve leads), '6x2' or 'rows'.
    start_s and duration_s: the part that is drawn. Raises InputError for a shape or a lead that does not fit.
    """
    if not 0 < duration_s <= 60 or not 0 <= start_s < 1e9:
        raise InputError(f"plot: from {start_s:g} s, {duration_s:g} s; draw at most 60 s, from 0 s on")
    if len(leads) > _ROWS:
        raise InputError(f"plot: {len(leads)} leads are too many for one picture; draw at most {_ROWS}")
    part = as_array(signal, "plot: the signal").astype(float)[..., round(start_s * fs) :]
    if not part.size:
        raise InputError(f"plot: the record ends before {start_s:g} s")
    return draw_ecg(part, fs, leads, layout=layout or usual_layout(leads), duration_s=duration_s, title=title)


@styled
def series(values: np.ndarray, *, title: str = "") -> Figure:
    """A series (C, T), one row per channel, each scaled to its own range; NaN leaves a gap."""
    values = as_array(values, "plot: a series").astype(float)
    if values.ndim != 2 or not values.size:
        raise InputError(f"plot: a series has the shape (channels, samples), not {values.shape}")
    if len(values) > _ROWS:
        raise InputError(f"plot: {len(values)} channels are too many for one picture; draw at most {_ROWS}")
    figure = blank(900, 60 + 56 * len(values))
    plot = axes(figure, left=48, right=12, top=30)
    for channel, row in enumerate(values):
        finite = row[np.isfinite(row)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        scaled = (row - (low + high) / 2) / max(high - low, 1e-12)
        plot.plot(channel - 0.9 * scaled, color=SERIES[channel % len(SERIES)], linewidth=1)
    plot.set_yticks(range(len(values)), [str(channel + 1) for channel in range(len(values))], color=INK)
    plot.set_xlim(0, max(values.shape[1] - 1, 1))
    plot.set_ylim(len(values) - 0.4, -0.6)
    plot.grid(visible=False)
    plot.set_xlabel("sample; each row is a channel, scaled to its own range")
    _entitle(figure, title)
    return figure


@styled
def image(pixels: np.ndarray, *, title: str = "") -> Figure:
    """An image (H, W) or (H, W, 1 or 3) uint8."""
    return _pictures([_checked(pixels, "an image", 2)], [""], title, 480)


@styled
def clip(frames: np.ndarray, *, numbers: Sequence[int] | None = None, title: str = "") -> Figure:
    """Up to eight frames of a clip (T, H, W) or (T, H, W, 1 or 3) uint8, side by side at even intervals.

    numbers: (T,) of the frames in their video; by default they are counted from 1.
    """
    frames = _checked(frames, "a clip", 3)
    names = np.arange(1, len(frames) + 1) if numbers is None else np.asarray(numbers)
    shown = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).astype(int))
    return _pictures([frames[n] for n in shown], [f"frame {names[n]}" for n in shown], title, 150)


@styled
def embedding(features: np.ndarray, labels: Sequence[object] | None = None, *, title: str = "") -> Figure:
    """Features (N, D) on their first two principal components, with a colour and marker per label (N,)."""
    features = np.asarray(features, float)
    if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
        raise InputError(f"plot: features have the shape (N, D) and are finite; these have {features.shape}")
    names = np.full(len(features), "") if labels is None else np.asarray(labels).astype(str)
    if len(names) != len(features):
        raise InputError(f"plot: there are {len(features)} features, but {len(names)} labels")
    points, share = principal_components(features)
    classes, counts = np.unique(names, return_counts=True)
    common = classes[np.argsort(-counts, kind="stable")][:_CLASSES]
    figure = blank(900, 560)
    plot = axes(figure, left=50, right=20 if labels is None else 240, top=30)
    for place, name in enumerate([*common, None] if len(classes) > _CLASSES else common):
        rows = ~np.isin(names, common) if name is None else names == name
        looks: dict[str, Any] = {"color": MUTED, "marker": "."} if name is None else _looks(place)
        label = "other" if name is None else f"{printable(name)[:26]} ({rows.sum()})"
        plot.plot(*points[rows].T, linestyle="none", markersize=5, label=label, **looks)
    plot.set_xlabel(f"first principal component; the two explain {share:.0%} of the variance")
    plot.set_ylabel("second")
    if labels is not None:
        figure.legend(loc="center right", labelcolor=INK)
    _entitle(figure, title)
    return figure


def prediction_error(model: Model, raw: Any, **options: Any) -> Figure:
    """Where a model predicts hidden parts of its input badly, drawn on the record (or on several images).

    raw and options (fs, leads, unit) are as for `Model.embed`; of a longer record the beginning is drawn. The error of
    a place is its mean over 64 masks. Raises InputError for a model whose folder has no predictor, or no masks.
    """
    arrays = _places(model, raw, options)
    if "errors" not in arrays:
        raise InputError(f"{model.loaded.folder}: does not predict hidden parts; pass a run of masked prediction")
    return styled(error_figure)(arrays)


def tokens(model: Model, raw: Any, **options: Any) -> Figure:
    """The tokens of a record (or of several images) as colours; arguments as for `prediction_error`.

    Red, green and blue are the first three principal components of all tokens. Raises InputError.
    """
    arrays = _places(model, raw, options)
    if "colours" not in arrays:
        raise InputError(f"{model.loaded.folder}: its tokens have no places in the record")
    return styled(colour_figure)(arrays)


def _places(model: Model, raw: Any, options: dict[str, Any]) -> dict[str, Any]:
    import torch

    from anyjepa.runs.place_pictures import SHOWN, place_arrays
    from anyjepa.weights.objective import load_objective

    made, patch = model.preprocessing, model.encoder.config.patch[0]
    kind = modality_of(made).drawing
    if kind is None:
        raise InputError(f"plot: {modality_of(made).records} are not drawn")
    samples = model.prepared(raw, **options)
    rows = [samples[place] for place in range(min(len(samples), SHOWN[kind]))]
    length = min(made.size[0], *(row.shape[1] // patch * patch for row in rows))
    x = torch.as_tensor(np.stack([row[:, :length] for row in rows]))
    objective = load_objective(model.loaded)
    if objective is not None:
        objective = objective.to(model.device)
    start = torch.zeros(len(x)) if made.absolute else None
    return place_arrays(objective, model.encoder, x, start, made, [""] * len(x))


@styled
def explanation(of: Explanation, name: str | None = None) -> Figure:
    """The evidence for a class in a record (blue) and against it (orange), from `Model.explain`.

    name: a class, by default the most probable one. Full colour is the largest effect of hiding a part on the log-odds
    of the class; the title says how large. Of an ECG, the rhythm strip shows effects of hiding all leads together, and
    of one longer than 10 s, the 10 s around the strongest evidence for the class are drawn. Raises InputError for
    an unknown class.
    """
    from anyjepa.runs.thumbnails import thumbnails

    name = of.predicted if name is None else name
    effects, made, grid = of.of(name), of.preprocessing, of.grid
    values, together = grid.by_channel(effects), grid.together(effects)
    title = printable(f"{of.id}: {name}, probability {of.probabilities[of.classes.index(name)]:.2f}")
    colours = "blue is evidence for it, orange against it"
    scale = f"full colour: log-odds ±{np.abs(values).max():.2g}"
    kind = modality_of(made).drawing
    if kind == "ecg":
        assert isinstance(made, EcgPreprocessing)
        rate, edges = float(made.rate or 1), grid.edges[0]
        total_s, best_s = of.record.shape[1] / rate, edges[int(together.argmax())] / rate
        start = round(float(np.clip(best_s - 5, 0, max(0.0, total_s - 10))) * rate)
        signal = made.restore(of.record, of.source)[:, start:]
        if grid.apart:
            scale += f"; rhythm strip, all leads together: ±{np.abs(together).max():.2g}"
        return on_ecg(
            signal,
            rate,
            made.channel_names,
            values,
            (edges - start) / rate,
            together=together,
            title=f"{title}; {colours}; {scale}",
            unit=made.restored_unit,
        )
    if kind in ("images", "video"):
        frames = of.record[None] if kind == "images" else of.record.swapaxes(0, 1)
        shown = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).astype(int))
        over = values if kind == "images" else together[np.searchsorted(grid.edges[0], shown, side="right") - 1]
        names = [""] if kind == "images" else [f"frame {frame + 1}" for frame in shown]
        side = 320 if kind == "images" else 112
        pixels = thumbnails(frames[shown], made, 2 * side)
        below = [tinted(picture, shade) for picture, shade in zip(pixels, rgba(over), strict=True)]
        return on_pictures(list(pixels), below, names, side=side, title=f"{title}\n{colours}\n{scale}")
    if made.sample_names:
        return on_names(made.sample_names, together, title=title, what=f"effect on the log-odds of {name}")
    return on_series(of.record, values, grid.edges[0], title=f"{title}; {colours}; {scale}")


def _looks(place: int) -> dict[str, Any]:
    number = (place + 3 * (place // len(SERIES))) % len(_MARKERS)
    return {"color": SERIES[place % len(SERIES)], "marker": _MARKERS[number]}


def _checked(pixels: np.ndarray, what: str, axes_without_channels: int) -> np.ndarray:
    """With channels, (..., H, W, 1 or 3)."""
    pixels = as_array(pixels, f"plot: {what}")
    whole = pixels[..., None] if pixels.ndim == axes_without_channels else pixels
    if whole.dtype != np.uint8 or whole.ndim != axes_without_channels + 1 or whole.shape[-1] not in (1, 3):
        raise InputError(f"plot: {what} is uint8 with 1 or 3 channels last, not {pixels.dtype} {pixels.shape}")
    if not whole.size:
        raise InputError(f"plot: {what} of shape {pixels.shape} is empty")
    return whole


def _pictures(pixels: Sequence[np.ndarray], names: Sequence[str], title: str, side: int) -> Figure:
    """Pictures of one size in a row, `side` points long, in their own proportions and with names above them."""
    height, width = pixels[0].shape[:2]
    scale = side / max(height, width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top = (28 if title else 4) + (20 if any(names) else 0)
    figure = blank(max(len(pixels) * (wide + 6) + 6, 200), top + tall + 6)
    size = figure.get_size_inches() * 72
    for place, (picture, name) in enumerate(zip(pixels, names, strict=True)):
        plot = figure.add_axes(((6 + place * (wide + 6)) / size[0], 6 / size[1], wide / size[0], tall / size[1]))
        plot.imshow(np.broadcast_to(picture, (height, width, 3)), interpolation="none", aspect="auto")
        plot.axis("off")
        plot.set_title(name, fontsize=10, color=MUTED, loc="left", pad=4)
    _entitle(figure, title)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(printable(title), x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
