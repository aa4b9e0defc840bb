"""Annotations of WFDB records: beats, and the P, QRS and T waves of LUDB."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.ecg.recording import Annotations, Delineation
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError, reason

_WAVES = {"p": "P", "N": "QRS", "t": "T"}


def read_annotations(path: Path, samples: int) -> Annotations:
    """Read an annotation file, such as `100.atr`. Raises InputError if it is missing or belongs to another record.

    samples: number of samples of the record.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; it must hold the annotations of record {path.stem}")
    regular_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import wfdb

            marks: Any = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        places, symbols = np.asarray(marks.sample, np.int64), tuple(map(str, marks.symbol))
    except ImportError as error:
        raise InputError(f"{path}: needs the wfdb package: pip install 'anyjepa[ecg]'") from error
    except Exception as error:  # wfdb raises whatever its parsing and NumPy raise
        raise InputError(f"{path}: is not an annotation file ({type(error).__name__}: {reason(error)})") from error
    if not len(places):
        raise InputError(f"{path}: has no annotation")
    if places.min() < 0 or places.max() >= samples or (np.diff(places) < 0).any():
        raise InputError(
            f"{path}: annotates samples {places.min()} to {places.max()}, but the record has {samples}; "
            "it belongs to another record, or is damaged"
        )
    return Annotations(places, symbols)


def read_waves(path: Path, fs: float, samples: int) -> Delineation:
    """Read the waves in an annotation file of LUDB for one lead, such as `1.ii`: each is '(', a peak and ')'.

    A few waves have no '('; they get an empty name and begin at the end of the previous wave. Annotators left out the
    first and the last beats of a record, so these are outside of the scope. Raises InputError.
    """
    marks = read_annotations(path, samples)
    times, symbols = marks.samples / fs, np.array(("", *marks.symbols, ""))
    peaks = np.flatnonzero(np.isin(symbols, list(_WAVES))) - 1
    ends = np.flatnonzero(symbols == ")") - 1
    if not len(peaks) or ends[-1] < peaks[-1]:
        raise InputError(f"{path}: has no P, QRS or T wave with an end")
    whole = (symbols[peaks] == "(") & (symbols[peaks + 2] == ")")
    before = np.r_[0, ends][np.searchsorted(ends, peaks)]
    onsets = times[np.where(whole, peaks - 1, before)]
    offsets = times[ends[np.searchsorted(ends, peaks)]]
    names = tuple(
        _WAVES[symbol] if complete else "" for symbol, complete in zip(symbols[peaks + 1], whole, strict=True)
    )
    return Delineation(names, onsets, offsets, (float(onsets[0]), float(offsets[-1])))
