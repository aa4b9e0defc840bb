"""Read the signal files of WFDB records, in ADC units, and check them against the header.

Formats: https://physionet.org/physiotools/wag/signal-5.htm
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from anyjepa.data.ecg.wfdb.header import Header, Signal
from anyjepa.data.ecg.wfdb.matlab import LEVEL_5, read_matlab
from anyjepa.data.files import opened
from anyjepa.data.mounts import on_disk
from anyjepa.data.tables.cells import repeated
from anyjepa.errors import InputError, reason
from anyjepa.limits import check_size

INVALID = {
    "16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -(2**7), "160": -(2**15),
    "212": -(2**11), "310": -(2**9), "311": -(2**9), "508": -(2**7), "516": -(2**15), "524": -(2**23),
}  # fmt: skip
"""The value that means 'invalid sample' in each format; format 8 (differences) has none."""

_BLOCKS = {  # samples and bytes of the smallest whole block
    "8": (1, 1), "16": (1, 2), "24": (1, 3), "32": (1, 4), "61": (1, 2), "80": (1, 1), "160": (1, 2),
    "212": (2, 3), "310": (3, 4), "311": (3, 4),
}  # fmt: skip
_FLAC_BITS = {"508": 8, "516": 16, "524": 24}
_SUBTYPE_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
_SLACK = 512  # extra bytes that a signal file may have


def read_samples(path: Path, header: Header) -> list[np.ndarray]:
    """Samples of each signal of the header at `path`, in ADC units as stored, (frames * per_frame,).

    Invalid samples have the value of `INVALID`; skew is not applied. Raises InputError if a signal file contradicts the
    header, its checksums or its initial values.
    """
    files = [(name, list(group)) for name, group in groupby(header.signals, lambda signal: signal.file)]
    if twice := repeated(name for name, _ in files):
        raise InputError(f"{path}: the signals in '{twice[0]}' must be on consecutive lines")
    samples = [rows for name, signals in files for rows in _read_file(path, path.parent / name, header, signals)]
    if len({len(rows) // signal.per_frame for rows, signal in zip(samples, header.signals, strict=True)}) > 1:
        raise InputError(f"{path}: its signal files differ in length, and it does not declare the number of samples")
    _verify(path, header.signals, samples)
    return samples


def _read_file(path: Path, file: Path, header: Header, signals: Sequence[Signal]) -> Iterator[np.ndarray]:
    """The samples of the signals of one file."""
    first = signals[0]
    if any((signal.format, signal.offset) != (first.format, first.offset) for signal in signals):
        raise InputError(f"{path}: the signals in '{first.file}' have different formats or offsets; a file has one")
    try:
        with opened(file) as content:
            size, start = os.fstat(content.fileno()).st_size, content.read(len(LEVEL_5))
    except InputError as error:
        raise InputError(f"{path}: its signal file cannot be read: {error}") from error
    width = sum(signal.per_frame for signal in signals)  # samples of a frame
    matlab = start == LEVEL_5 or file.suffix.lower() == ".mat"
    if matlab:
        frames = read_matlab(file, width, header.samples, first.offset, path.name)
        _check_adc_units(path, file, frames, signals)
    elif first.format in _FLAC_BITS:
        frames = _read_flac(path, file, size, header, signals)
    elif first.format in _BLOCKS:
        frames = _read_plain(path, file, size, header, signals, width)
    else:
        supported = ", ".join((*_BLOCKS, *_FLAC_BITS))
        raise InputError(f"{path}: format {first.format} of '{first.lead}' is not supported; supported are {supported}")
    first_column = 0
    for signal in signals:
        rows = frames[:, first_column : first_column + signal.per_frame].reshape(-1)
        first_column += signal.per_frame
        if signal.format == "8" and not matlab:  # differences
            rows = np.cumsum(rows, dtype=np.int64) + (signal.initial or 0)
        yield rows


def _read_plain(path: Path, file: Path, size: int, header: Header, signals: Sequence[Signal], width: int) -> np.ndarray:
    """Read a file in one of the formats of `_BLOCKS`, (frames, width)."""
    form, offset = signals[0].format, signals[0].offset
    per_block, block = _BLOCKS[form]
    frames = header.samples
    if frames is None:
        frames = max(0, size - offset) * per_block // block // width
        if frames and size > offset - (-frames * width // per_block) * block:
            raise InputError(
                f"{file}: {size} bytes are not a whole number of samples of {len(signals)} signals in format {form}; "
                f"it is truncated, or {path.name} describes the wrong signals"
            )
    needed = offset + _bytes(form, frames * width)
    of = f"{len(signals)} leads of {frames} samples in format {form} take {needed} bytes"
    if size < needed and frames:
        raise InputError(f"{file}: {of}, but the file has {size}; it is truncated, or has fewer leads than its header")
    if size > needed + min(_SLACK, max(0, _bytes(form, frames) - 1)):  # less than one more lead
        raise InputError(f"{file}: {of}, but the file has {size}; it has more leads or samples than {path.name} says")
    with opened(file) as content_file:
        content = np.fromfile(content_file, np.uint8, max(0, needed - offset), offset=offset)
    return _decode(form, content, frames * width).reshape(frames, width)


def _bytes(form: str, samples: int) -> int:
    """Bytes of this many samples. In format 310, the second of three samples needs the whole block."""
    per_block, block = _BLOCKS[form]
    blocks, rest = divmod(samples, per_block)
    return blocks * block + (2 * rest if form == "310" else -(-rest * block // per_block))


def _decode(form: str, content: np.ndarray, samples: int) -> np.ndarray:
    """Decode the bytes (uint8) of a signal file to samples (samples,)."""
    block = _BLOCKS[form][1]
    content = np.pad(content, (0, -len(content) % block))
    if form in ("8", "16", "32", "61"):
        return content.view({"8": "i1", "16": "<i2", "32": "<i4", "61": ">i2"}[form])
    if form == "80":
        return content.astype(np.int16) - 128
    if form == "160":
        return content.view("<u2").astype(np.int32) - 2**15
    a, b, c, *d = content.reshape(-1, block).astype(np.int32).T
    if form == "24":
        return _signed(a | b << 8 | c << 16, 24)
    if form == "212":
        decoded = (a | (b & 15) << 8, c | (b >> 4) << 8)
    elif form == "310":
        decoded = (a >> 1 | (b & 7) << 7, c >> 1 | (d[0] & 7) << 7, b >> 3 | (d[0] >> 3) << 5)
    else:
        decoded = (a | (b & 3) << 8, b >> 2 | (c & 15) << 6, c >> 4 | (d[0] & 63) << 4)
    return _signed(np.stack(decoded, axis=1).reshape(-1), 12 if form == "212" else 10)[:samples]


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    """Interpret values as two's complement with this many bits."""
    return values - ((values >> (bits - 1)) << bits)


def _read_flac(path: Path, file: Path, size: int, header: Header, signals: Sequence[Signal]) -> np.ndarray:
    """Read a FLAC file, (frames, width), with one channel per signal. Its offset is in samples."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise InputError(f"{path}: its format needs the soundfile package: pip install 'anyjepa[ecg]'") from error
    first = signals[0]
    if any(signal.per_frame != first.per_frame for signal in signals):
        raise InputError(f"{path}: the signals in '{first.file}' differ in samples per frame, which FLAC forbids")
    try:
        with on_disk(file) as real, soundfile.SoundFile(real) as sound:
            bits = _SUBTYPE_BITS.get(sound.subtype, 0)
            if sound.format != "FLAC" or not 0 < bits <= _FLAC_BITS[first.format]:
                described = f"is {sound.format} of type {sound.subtype}"
                raise InputError(f"{file}: {described}, not FLAC of up to {_FLAC_BITS[first.format]} bits")
            if sound.channels != len(signals):
                raise InputError(f"{file}: has {sound.channels} channels, but {path.name} describes {len(signals)}")
            available = (sound.frames - first.offset) // first.per_frame
            frames = available if header.samples is None else header.samples
            if available < frames:
                raise InputError(f"{file}: has {max(available, 0)} samples, but {path.name} describes {frames}")
            check_size(16 * frames * first.per_frame * len(signals), size, f"{file}")
            sound.seek(first.offset)
            rows = np.empty((max(frames, 0) * first.per_frame, len(signals)), np.int32)
            for start in range(0, len(rows), 2**20):  # libsndfile fails for more than 2^24 samples at once
                part = rows[start : start + 2**20]
                if len(sound.read(out=part)) != len(part):
                    raise InputError(f"{file}: is truncated")
    except soundfile.SoundFileError as error:
        raise InputError(f"{file}: cannot be read as FLAC ({reason(error)})") from error
    rows >>= 32 - bits  # soundfile shifts samples to the top of 32 bits
    rows = rows.reshape(-1, first.per_frame, len(signals)).transpose(0, 2, 1)
    return rows.reshape(len(rows), first.per_frame * len(signals))


def _check_adc_units(path: Path, file: Path, frames: np.ndarray, signals: Sequence[Signal]) -> None:
    """Raise InputError for numbers in a MATLAB file that do not fit the header's format."""
    fractional = frames.dtype.kind == "f"
    finite = frames[np.isfinite(frames)] if fractional else frames
    lowest = INVALID.get(signals[0].format, -np.inf)
    if finite.size and not lowest <= finite.min() <= finite.max() < -lowest:
        beyond = f"has values from {finite.min()} to {finite.max()}"
        raise InputError(f"{file}: {beyond}, which do not fit format {signals[0].format} in {path.name}")
    fractional = fractional and bool((finite != np.rint(finite)).any())
    if fractional and any((signal.gain, signal.baseline) != (1, 0) for signal in signals):
        raise InputError(
            f"{file}: has fractions, but ADC units are whole numbers; if the values are in mV, "
            f"set the gain in {path.name} to '1(0)/mV'"
        )


def _verify(path: Path, signals: Sequence[Signal], samples: Sequence[np.ndarray]) -> None:
    """Raise InputError if a checksum, or an initial value without a checksum, contradicts the samples.

    Zeros in all lines are placeholders. In format 8 the initial value is the starting point, so it is not compared.
    """
    checksums = any(signal.checksum for signal in signals)
    initials = any(signal.initial for signal in signals) and not checksums
    for signal, rows in zip(signals, samples, strict=True):
        if checksums and signal.checksum is not None:
            total = int(np.nan_to_num(rows).sum(dtype=np.float64 if rows.dtype.kind == "f" else np.int64))
            if (total - signal.checksum) % 2**16:
                signed = (total + 2**15) % 2**16 - 2**15, (signal.checksum + 2**15) % 2**16 - 2**15
                raise _changed(path, signal, "has checksum {}, but the header says {}".format(*signed))
        if initials and signal.format != "8" and len(rows) and signal.initial not in (None, rows[0]):
            raise _changed(path, signal, f"begins with {rows[0]}, but the header says {signal.initial}")


def _changed(path: Path, signal: Signal, how: str) -> InputError:
    return InputError(
        f"{path.parent / signal.file}: '{signal.lead}' {how}; the file is damaged, or was changed after its header was "
        f"written. If the change was intended, set the initial values and checksums in {path.name} to 0"
    )
