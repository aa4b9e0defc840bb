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


def pack(form: str, samples: np.ndarray) -> bytes:
    """The bytes of samples, in the order of the file, in a format of https://physionet.org/physiotools/wag/signal-5.htm.

    Of format 8 they are differences.
    """
    x = np.asarray(samples, np.int64)
    if form in ("8", "16", "32", "61"):
        return x.astype({"8": "i1", "16": "<i2", "32": "<i4", "61": ">i2"}[form]).tobytes()
    if form == "24":
        return x.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if form in ("80", "160"):
        return (x + 2**7).astype("u1").tobytes() if form == "80" else (x + 2**15).astype("<u2").tobytes()
    per_block = 2 if form == "212" else 3
    size = -(-len(x) * 3 // 2) if form == "212" else len(x) // 3 * 4 + (0, 2, 4 if form == "310" else 3)[len(x) % 3]
    rows = np.pad(x, (0, -len(x) % per_block)).reshape(-1, per_block)
    if form == "212":  # 12 bits of the first, whose top 4 share a byte with the top 4 of the second
        first, second = (rows & 4095).T
        blocks = np.stack([first & 255, first >> 8 | second >> 8 << 4, second & 255], axis=1).astype("u1")
    elif form == "310":  # two of three samples in bits 1-10 of a word each, the third in both words' top bits
        first, second, third = (rows & 1023).T
        blocks = np.stack([(third & 31) << 11 | first << 1, (third >> 5) << 11 | second << 1], axis=1).astype("<u2")
    else:  # 311: three samples in the lower 30 bits of a word, the first lowest
        first, second, third = (rows & 1023).T
        blocks = (third << 20 | second << 10 | first).astype("<u4")
    return blocks.tobytes()[:size]


def pack_matlab(
    values: np.ndarray, name: str = "val", kind: str = "<i2", *, before: bytes = b"", layout: int = 0
) -> bytes:
    """A MATLAB 4 file with one matrix, after what is `before` it."""
    types = {"f8": 0, "f4": 1, "i4": 2, "i2": 3, "u2": 4, "u1": 5}
    word = (1000 if kind[0] == ">" else 0) + 10 * types[kind[1:]] + layout
    head = np.array([word, *values.shape, 0, len(name) + 1], f"{kind[0]}i4").tobytes()
    return before + head + name.encode() + b"\0" + values.astype(kind).tobytes(order="F")


def write_annotations(path: Path, samples: Sequence[int], symbols: Sequence[str]) -> None:
    """`path` with its suffix, which names the annotator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        wfdb.wrann(path.stem, path.suffix[1:], np.array(samples), list(symbols), write_dir=str(path.parent))
