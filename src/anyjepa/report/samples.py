"""The samples behind the points of the map: pictures and nearest neighbours, which `page.js` shows one at a time."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from anyjepa.data.ecg.paper import GAIN_MM_MV, SPEED_MM_S, cells, draw_ecg, usual_layout
from anyjepa.errors import printable
from anyjepa.evaluation.nearest import nearest
from anyjepa.report.drawing import SERIES, draw
from anyjepa.report.markup import Html, join, tag

NEIGHBOURS = 6
_COLUMNS = 20  # tiles in a row of the sheet of pictures
_QUALITY = 80  # of JPEG
_MM = 72 / 25.4  # pixels
_ROW_MM = {"3x4": 26.0, "rows": 18.0}
_BAND, _WIDTH = 44, 560  # height and width of a channel of a series, pixels
_LARGEST = 0.9995  # quantile of the signals that is drawn; larger values are clipped


def viewer(
    features: np.ndarray, ids: Sequence[str], labels: Sequence[str], what: str, arrays: dict[str, np.ndarray]
) -> Html:
    """Markup that shows one sample of the map at a time, with its nearest neighbours among the points.

    features (N, D), ids (N,) and labels (N,) of the points. arrays: as written by `runs.sample_pictures`, with one
    picture per point in the same order; empty if there are none.
    """
    rows = np.arange(len(features))
    near, cosine = nearest(features, rows, rows, NEIGHBOURS)
    values: dict[str, Any] = {
        "ids": [printable(one) for one in ids], "labels": [printable(one) for one in labels],
        "near": near.tolist(), "cosine": np.round(cosine, 3).tolist(),
    }  # fmt: skip
    paper = Html()
    if "pixels" in arrays:
        values["sheet"] = _sheet(arrays["pixels"])
    elif "signals" in arrays:
        values["signals"], paper = _signals(arrays)
    data = json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    text = f"Hover over a point, or click it, to see what is behind it and the most similar {what}."
    step = (tag("button", text, type="button", class_=key) for key, text in (("back", "previous"), ("on", "next")))
    shown = (
        tag("div", tag("strong", class_="name", aria_live="polite"), *step, class_="bar"),
        tag("div", paper, class_="picture"),
        tag("p", "Most similar by cosine of standardised features:", class_="meaning"),
        tag("ol", class_="near"),
    )
    return join(
        [
            tag("div", tag("p", text, class_="hint"), tag("div", *shown, class_="shown", hidden=""), class_="sample"),
            tag("script", Html(data), type="application/json"),
        ]
    )


def _sheet(pixels: np.ndarray) -> dict[str, Any]:
    """All pictures (N, frames, h, w, C) uint8 on one JPEG, with the frames of a sample side by side."""
    from PIL import Image

    if pixels.ndim != 5 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels {pixels.dtype} {pixels.shape}")
    count, frames, height, width, channels = pixels.shape
    tiles = pixels.transpose(0, 2, 1, 3, 4).reshape(count, height, frames * width, channels)
    empty = np.zeros((-count % _COLUMNS, *tiles.shape[1:]), np.uint8)
    grid = np.concatenate([tiles, empty]).reshape(-1, _COLUMNS, *tiles.shape[1:])
    sheet = grid.transpose(0, 2, 1, 3, 4).reshape(-1, _COLUMNS * frames * width, channels)
    out = BytesIO()
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(out, "JPEG", quality=_QUALITY, subsampling=0)
    uri = f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
    return {"uri": uri, "width": frames * width, "height": height, "columns": _COLUMNS}


def _signals(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], Html]:
    """Signals (N, C, T) as bytes, where each channel goes on the paper, and the paper.

    A channel starts at (x, y) of the paper; one sample moves it by dx to the right, and one unit by dy upwards.
    """
    signals = np.asarray(arrays["signals"], np.float32)
    if signals.ndim != 3 or not signals.size:
        raise ValueError(f"signals {signals.shape}")
    finite = np.abs(signals[np.isfinite(signals)])
    unit = max(float(np.quantile(finite, _LARGEST)) if finite.size else 0.0, 1e-6) / 127
    scaled = np.where(np.isfinite(signals), np.nan_to_num(signals / unit).round().clip(-127, 127), -128).astype(np.int8)
    if str(arrays["kind"]) == "ecg":
        places, paper = _on_paper(signals.shape, float(arrays["fs"]), [str(lead) for lead in arrays["leads"]], unit)
    else:
        size = f"0 0 {_WIDTH} {_BAND * signals.shape[1]}"
        paper = tag("svg", viewBox=size, role="img", aria_label="The channels of the series", class_="series")
        dx, dy = _WIDTH / signals.shape[2], _BAND / 256
        middles = (_BAND * (channel + 0.5) for channel in range(signals.shape[1]))
        places = [[0, middle, dx, dy, f"var(--series-{1 + n % len(SERIES)})"] for n, middle in enumerate(middles)]
    data = b64encode(zlib.compress(scaled.tobytes(), 9)).decode()
    return {"data": data, "length": signals.shape[2], "places": places}, paper


def _on_paper(shape: tuple[int, ...], fs: float, leads: list[str], unit: float) -> tuple[list[list[Any]], Html]:
    layout = usual_layout(leads)
    duration = shape[2] / fs * (4 if layout == "3x4" else 1)
    row_mm = _ROW_MM[layout]
    paper, (_, height) = cells(leads, layout, None, duration, row_mm)
    by_lead = {cell.lead: cell for cell in paper}
    step, up = SPEED_MM_S / fs * _MM, GAIN_MM_MV * unit * _MM
    places = [
        [round(cell.x * _MM, 2), round((height - cell.baseline) * _MM, 2), step, up, "#111111"]
        for cell in (by_lead[lead] for lead in leads)
    ]
    empty = np.full((len(leads), 1), np.nan)
    alt = f"ECG paper, {SPEED_MM_S:g} mm/s and {GAIN_MM_MV:g} mm/mV"
    drawn = draw(
        alt, lambda: draw_ecg(empty, fs, leads, layout=layout, rhythm=None, duration_s=duration, row_mm=row_mm)
    )
    return places, drawn
