"""A map of the representations: two dimensions of each record's embedding, marked by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anyjepa.errors import reason
from anyjepa.randomness import generator
from anyjepa.report.contents import Contents
from anyjepa.report.drawing import INK, MARKERS, MUTED, SERIES, SURFACE, axes, blank, draw
from anyjepa.report.markup import Html, figure, note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 2000
_LABELS = 16


def embedding_map(run: Contents) -> Html:
    """`artifacts/embedding.npz` holds z (N, 2), or features (N, D) for PCA; and may hold labels (N,) and split (N,)."""
    if run.embedding is None:
        lacking = "artifacts/embedding.npz is missing or not readable"
        return note(f"Not drawn: {lacking}; anyjepa evaluate --protocol linear writes it.")
    try:
        return _map(run.what[0], **run.embedding)
    except Exception as error:  # arrays of someone else's can fail anywhere in NumPy or Matplotlib
        return note(f"Not drawn: artifacts/embedding.npz does not fit: {reason(error)}")


def principal_components(features: np.ndarray) -> tuple[np.ndarray, float]:
    """features (N, D) -> their first two principal components (N, 2) and the share of variance these hold."""
    centred = features - features.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    z = np.zeros((len(features), 2))
    z[:, : len(values)] = (left * values)[:, :2]
    total = float((values**2).sum())
    return z, float((values[:2] ** 2).sum()) / total if total else 0.0


def _map(
    records: str,
    z: np.ndarray | None = None,
    features: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    split: np.ndarray | None = None,
) -> Html:
    points = np.asarray(features if z is None else z, dtype=float)
    if points.ndim != 2 or not len(points):
        raise ValueError(f"z or features have shape {points.shape}; (N, 2) or (N, D) is needed")
    names = np.full(len(points), records) if labels is None else labels.astype(str)
    parts = np.full(len(points), "") if split is None else split.astype(str)
    usable = np.isfinite(points).all(1)
    shown = usable & (parts == "test") if (usable & (parts == "test")).any() else usable
    text = f"{shown.sum()} {'test ' if shown.sum() < usable.sum() else ''}{records}"
    if not usable.all():
        text += f" ({(~usable).sum()} without a finite embedding are left out)"
    points, names = points[shown], names[shown]
    if z is None:
        points, share = principal_components(points)
        text += f", on the two directions of largest variance ({share:.0%} of it)"
    if len(points) > _POINTS:
        chosen = generator(0, "report", 0).choice(len(points), _POINTS, replace=False)
        points, names = points[chosen], names[chosen]
        text += f"; {_POINTS} of them drawn, by chance"
    classes, counts = np.unique(names, return_counts=True)
    classes = [str(name) for name in classes[np.argsort(-counts, kind="stable")]]
    alt = f"Map of {text}; labels: {', '.join(classes[:_LABELS])}{' and others' if len(classes) > _LABELS else ''}"
    return figure(draw(alt, lambda: _scatter(points, names, classes)), f"{text}.")


def _scatter(points: np.ndarray, names: np.ndarray, classes: list[str]) -> Figure:
    page = blank(900, 480)
    plot = axes(page, left=20, right=260, bottom=20)
    for place, name in enumerate([*classes[:_LABELS], *classes[_LABELS:][:1]]):
        other = place == _LABELS
        rows = np.isin(names, classes[_LABELS:]) if other else names == name
        colour = MUTED if other else SERIES[place % len(SERIES)]
        marker = "." if other else MARKERS[(place + 3 * (place // len(SERIES))) % len(MARKERS)]  # no pair twice
        label = "other" if other else f"{name[:26]} ({rows.sum()})"
        plot.scatter(*points[rows].T, s=36, c=colour, marker=marker, edgecolors=SURFACE, linewidths=0.5, label=label)
    plot.grid(visible=False)
    plot.tick_params(labelbottom=False, labelleft=False, length=0)
    page.legend(loc="center left", bbox_to_anchor=(650 / 900, 0.5), labelcolor=INK, markerscale=1.4)
    return page
