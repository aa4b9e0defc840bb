"""Scatter plot of the representations in two dimensions, one point per record, coloured by label."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyjepa.errors import reason
from anyjepa.randomness import generator
from anyjepa.report.charts import MUTED, Trace, chart, marker, short
from anyjepa.report.contents import Contents
from anyjepa.report.markup import Html, note, tag
from anyjepa.report.samples import viewer

_POINTS = 2000
_LABELS = 16
_PICTURES = ("kind", "pictured", "pixels", "signals", "fs", "leads")


def embedding_map(run: Contents) -> Html:
    """Scatter plot of `artifacts/embedding.npz`; without this file, how to write it, or nothing before an evaluation.

    The file contains z (N, 2), or features (N, D), of which the first two principal components are plotted.
    It may also contain labels (N,), split (N,), ids (N,) and pictures of some records (see `runs.sample_pictures`),
    which are then the points of the map.
    """
    if run.embedding is None:
        written = run.folder / "artifacts" / "embedding.npz"  # if it exists, it is damaged, and a note says so
        if not run.results or written.exists():
            return Html()
        return note(f"Not computed: the map of embeddings. anyjepa evaluate {run.folder} --protocol linear adds it.")
    try:
        pictures = {name: array for name, array in run.embedding.items() if name in _PICTURES}
        return _map(run.what[0], pictures, **{k: v for k, v in run.embedding.items() if k not in _PICTURES})
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
    pictures: dict[str, np.ndarray],
    z: np.ndarray | None = None,
    features: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    split: np.ndarray | None = None,
    ids: np.ndarray | None = None,
) -> Html:
    points = np.asarray(features if z is None else z, dtype=float)
    if points.ndim != 2 or not len(points):
        raise ValueError(f"z must have shape (N, 2) or features (N, D), got {points.shape}")
    names = np.full(len(points), records) if labels is None else labels.astype(str)
    parts = np.full(len(points), "") if split is None else split.astype(str)
    titles = np.arange(len(points)).astype(str) if ids is None else ids.astype(str)
    usable = np.isfinite(points).all(1)
    if not usable.any():
        raise ValueError("no embedding is finite")
    tested = usable & (parts == "test")
    shown = np.asarray(tested if tested.any() else usable)
    text = f"{shown.sum()} {'test ' if shown.sum() < usable.sum() else ''}{records}"
    if not usable.all():
        text += f" ({(~usable).sum()} without a finite embedding are not shown)"
    z2, text = _plane(points[shown], text, z is None)
    place = np.full((len(points), 2), np.nan)
    place[shown] = z2
    if pictures:
        pictured = np.asarray(pictures["pictured"])
        kept = np.flatnonzero(shown[pictured])
        rows = pictured[kept]
        pictures |= {name: pictures[name][kept] for name in ("pixels", "signals") if name in pictures}
    else:
        rows = np.flatnonzero(shown)
    if len(rows) > _POINTS:
        rows = np.sort(generator(0, "report", 0).choice(rows, _POINTS, replace=False))
    if len(rows) < shown.sum():
        text += f"; a random {len(rows)} of them are shown"
    names, titles = names[rows], titles[rows]
    classes, counts = np.unique(names, return_counts=True)
    classes = [str(name) for name in classes[np.argsort(-counts, kind="stable")]]
    alt = f"Map of {text}; labels: {', '.join(classes[:_LABELS])}{' and others' if len(classes) > _LABELS else ''}"
    hidden: dict[str, Any] = {"showticklabels": False, "showgrid": False, "zeroline": False}
    layout = {"xaxis": hidden, "yaxis": hidden, "hovermode": "closest"}
    drawn = chart(alt, _traces(place[rows], names, titles, classes), layout, f"{text}.", 460)
    if len(rows) < 2 or points.shape[1] < 2 or ids is None:
        return drawn
    behind = viewer(points[rows], titles.tolist(), names.tolist(), records, pictures)
    return tag("div", drawn, behind, class_="map")


def _plane(points: np.ndarray, text: str, project: bool) -> tuple[np.ndarray, str]:
    """Two coordinates of each point, and a text that says how they were computed."""
    if not project:
        return points[:, :2], text
    z, share = principal_components(points)
    return z, f"{text}, projected onto the first two principal components ({share:.0%} of the variance)"


def _traces(points: np.ndarray, names: np.ndarray, titles: np.ndarray, classes: list[str]) -> list[Trace]:
    """One series of points per label; rare labels share one."""
    data = []
    for place, name in enumerate([*classes[:_LABELS], *classes[_LABELS:][:1]]):
        other = place == _LABELS
        rows = np.flatnonzero(np.isin(names, classes[_LABELS:]) if other else names == name)
        looks = {**marker(place, 8), "color": MUTED, "symbol": "circle"} if other else marker(place, 8)
        data.append({
            "name": f"{'other' if other else short(name, 26)} ({len(rows)})", "mode": "markers", "marker": looks,
            "x": points[rows, 0].tolist(), "y": points[rows, 1].tolist(), "customdata": rows.tolist(),
            "text": [f"{title}: {label}" for title, label in zip(titles[rows], names[rows], strict=True)],
            "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    return data
