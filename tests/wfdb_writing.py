"""WFDB records written by the wfdb package, for tests of readers that parse them on their own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_record(
    path: Path, signal: np.ndarray, fs: float, leads: Sequence[str], comments: Sequence[str] = (), gain: float = 1000
) -> None:
    """signal: (L, T) mV; `path` without suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb beside pandas 3
        import wfdb

        wfdb.wrsamp(
            path.name,
            fs=fs,
            units=["mV"] * len(leads),
            sig_name=list(leads),
            p_signal=signal.T.astype(np.float64),
            fmt=["16"] * len(leads),
            adc_gain=[gain] * len(leads),
            baseline=[0] * len(leads),
            comments=list(comments),
            write_dir=str(path.parent),
        )


def write_annotations(path: Path, samples: Sequence[int], symbols: Sequence[str]) -> None:
    """`path` with its suffix, which names the annotator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        wfdb.wrann(path.stem, path.suffix[1:], np.array(samples), list(symbols), write_dir=str(path.parent))
