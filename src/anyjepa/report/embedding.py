"""Scatter plot of the representations in two dimensions, one point per record, coloured by label."""

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
    """Scatter plot of `artifacts/embedding.npz`.

    The file contains z (N, 2), or features (N, D), of which the first two principal components are plotted.
    It may also contain labels (N,) and split (N,).
    """
    if run.embedding is None:
        problem = "artifacts/embedding.npz is missing or cannot be read"
        return note(f"There is no map because {problem}. `anyjepa evaluate --protocol linear` writes this file.")
    try:
        return _map(run.what[0], **run.embedding)
    except Exception as error:  # arrays from other programs can fail anywhere in NumPy or Matplotlib
        return note(f"The map of artifacts/embedding.npz could not be drawn: {reason(error)}")


def principal_components(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Project features (N, D) onto their first two principal components.

    Returns the projection (N, 2) and the share of the variance that it explains.
    """
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
        raise ValueError(f"z must have shape (N, 2) or features (N, D), got {points.shape}")
    names = np.full(len(points), records) if labels is None else labels.astype(str)
    parts = np.full(len(points), "") if split is None else split.astype(str)
    usable = np.isfinite(points).all(1)
    if not usable.any():
        raise ValueError("no embedding is finite")
    shown = usable & (parts == "test") if (usable & (parts == "test")).any() else usable
    text = f"{shown.sum()} {'test ' if shown.sum() < usable.sum() else ''}{records}"
    if not usable.all():
        text += f" ({(~usable).sum()} without a finite embedding are not shown)"
    points, names = points[shown], names[shown]
    if z is None:
        points, share = principal_components(points)
        text += f", projected onto the first two principal components ({share:.0%} of the variance)"
    if len(points) > _POINTS:
        chosen = generator(0, "report", 0).choice(len(points), _POINTS, replace=False)
        points, names = points[chosen], names[chosen]
        text += f"; a random {_POINTS} of them are shown"
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
        # each label has its own pair of colour and marker
        marker = "." if other else MARKERS[(place + 3 * (place // len(SERIES))) % len(MARKERS)]
        label = "other" if other else f"{name[:26]} ({rows.sum()})"
        plot.scatter(*points[rows].T, s=36, c=colour, marker=marker, edgecolors=SURFACE, linewidths=0.5, label=label)
    plot.grid(visible=False)
    plot.tick_params(labelbottom=False, labelleft=False, length=0)
    page.legend(loc="center left", bbox_to_anchor=(650 / 900, 0.5), labelcolor=INK, markerscale=1.4)
    return page
