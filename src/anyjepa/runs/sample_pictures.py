"""Save small pictures of samples, which the report shows behind the points of its map."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg.paper import cells, usual_layout
from anyjepa.randomness import generator
from anyjepa.runs.thumbnails import at_places, thumbnails

MOST = 600  # largest number of pictures
FRAMES = 4  # of a video
POINTS = 256  # of a channel of a series
ECG_S, ECG_HZ = 10.0, 100.0  # longest part of an ECG, and largest rate
_SIGNAL_VALUES, _PIXELS = 2_000_000, 6_000_000  # largest numbers in all pictures together


def pictures(kind: str, samples: Dataset, rows: np.ndarray, choice: np.ndarray, preprocessing: Any) -> dict[str, Any]:
    """Pictures of some of the samples `rows[choice]`: kind, and pictured (P,), their places in `rows`.

    Images and video have pixels (P, frames, h, w, C) uint8. Signals have signals (P, C, T) float16, in mV or
    standardised; of a 12-lead ECG each lead has only the part that a standard printout shows. ECGs also have fs, in
    Hz, and leads (C,).
    """
    order = generator(0, "pictures", 2).permutation(choice)
    first = _picture(kind, samples, int(rows[order[0]]), preprocessing)
    name, limit = ("pixels", _PIXELS) if first.dtype == np.uint8 else ("signals", _SIGNAL_VALUES)
    chosen = np.sort(order[: max(1, min(MOST, limit // first.size))])
    arrays = {
        "kind": kind,
        "pictured": chosen,
        name: np.stack([_picture(kind, samples, int(rows[place]), preprocessing) for place in chosen]),
    }
    if kind == "ecg":
        arrays |= {"fs": min(ECG_HZ, preprocessing.fs), "leads": np.array(preprocessing.leads)}
    return arrays


def _picture(kind: str, samples: Dataset, row: int, preprocessing: Any) -> np.ndarray:
    if kind == "ecg":
        return _on_paper(preprocessing.restore(samples[row], samples.source[row]), preprocessing)
    if kind == "series":
        return at_places(samples[row], POINTS).astype(np.float16)
    frames = samples[row][None] if kind == "images" else samples[row].swapaxes(0, 1)  # (T, C, H, W)
    shown = np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))
    return thumbnails(frames[shown], preprocessing)


def _on_paper(signal: np.ndarray, preprocessing: Any) -> np.ndarray:
    """The part of each lead of (L, T) in mV that its cell on paper shows, (L, points); NaN after the end."""
    leads, duration = list(preprocessing.leads), min(ECG_S, preprocessing.duration_s)
    paper, _ = cells(leads, usual_layout(leads), None, duration, 1.0)
    fs = min(ECG_HZ, preprocessing.fs)
    parts = []
    for lead in leads:
        cell = next(cell for cell in paper if cell.lead == lead)
        places = (cell.start_s + np.arange(round((cell.end_s - cell.start_s) * fs)) / fs) * preprocessing.fs
        parts.append(np.interp(places, np.arange(signal.shape[1]), signal[leads.index(lead)], right=np.nan))
    return np.stack(parts).astype(np.float16)
