"""WFDB records: a `.hea` header beside its signal file (`.dat`, or MATLAB v4 `.mat` at an offset of 24 bytes).

The header is parsed and checked here, so that what is wrong is named. Format 16, nearly all published 12-lead ECGs, is
read directly (the wfdb package needs 10 ms a record, most of it for the header); every other format goes through wfdb.
Format: https://physionet.org/physiotools/wag/header-5.htm and signal-5.htm
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.ecg.recording import Annotations, Recording, check_rate, millivolts_per
from anyjepa.data.files import regular_size
from anyjepa.errors import InputError

_RECORD_LINE = re.compile(
    r"(?P<name>[-\w]+)(/(?P<segments>\d{1,15}))?\s+(?P<signals>\d{1,15})\s+(?P<fs>[^\s/(]+)\S*(\s+(?P<samples>\d{1,15}))?"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,15})(x(?P<per_frame>\d{1,15}))?(:(?P<skew>\d{1,15}))?(\+(?P<offset>\d{1,15}))?"
    r"(\s+(?P<gain>[-+.\deE]+)(\((?P<baseline>-?\d{1,15})\))?(/(?P<unit>\S+))?"
    r"(\s+\d+(\s+(?P<zero>-?\d{1,15})(\s+-?\d+(\s+-?\d+(\s+-?\d+(\s+(?P<lead>.+))?)?)?)?)?)?)?"
)
_SEGMENT_LINE = re.compile(r"(?P<name>~|[-\w]+)\s+\d{1,15}")
# Bytes a sample; the compressed formats 508, 516 and 524 have no fixed size.
_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
_SLACK = 512  # bytes that a signal file may hold beyond what its header describes


@dataclass(frozen=True)
class Signal:
    """One signal line of a header. gain in ADC units a `unit`; baseline in ADC units."""

    file: str
    format: str
    per_frame: int
    skew: int
    offset: int  # bytes before the first sample
    gain: float
    baseline: int
    unit: str
    lead: str


@dataclass(frozen=True)
class Header:
    """What a `.hea` file says. samples: None where it leaves the length to the signal file."""

    name: str
    fs: float
    samples: int | None
    signals: tuple[Signal, ...]
    segments: tuple[str, ...]  # names of the records that a multi-segment record is made of
    comments: tuple[str, ...]


def read_wfdb(path: Path, id: str, source: str, unit: str | float | None = None) -> Recording:
    """The record of a `.hea` file in mV. InputError names the file for anything that does not fit together.

    unit: what one ADC unit is, instead of the header's gain and baseline. LUDB needs it ('uV'): its headers scale every
    lead to 1 mV peak to peak, while its ADC units obey Einthoven's law and are uV.
    """
    header = read_header(path)
    if header.segments or not _is_plain(header.signals):
        signal, leads = _read_by_wfdb(path, header, unit)
    else:
        signal, leads = _read_format_16(path, header, unit)
    age, sex, statements = _read_comments(header.comments)
    is_ludb = "<diagnoses>:" in header.comments
    return Recording(
        id=id,
        signal=signal,
        fs=header.fs,
        leads=tuple(leads),
        patient=path.stem if is_ludb else None,  # LUDB: 200 records of 200 subjects
        statements=statements,
        source="ludb" if is_ludb else source,
        age=age,
        sex=sex,
        file=str(path),
    )


def read_annotations(path: Path, samples: int) -> Annotations:
    """An annotation file, as `100.atr`, of a record of so many samples. InputError if it is missing or another's."""
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
        raise InputError(f"{path}: is no annotation file ({type(error).__name__}: {str(error)[:200]})") from error
    if not len(places):
        raise InputError(f"{path}: holds no annotation")
    if places.min() < 0 or places.max() >= samples or (np.diff(places) < 0).any():
        raise InputError(
            f"{path}: annotates samples {places.min()} to {places.max()}, the record has {samples}; "
            "it belongs to another record, or is damaged"
        )
    return Annotations(places, symbols)


def read_header(path: Path) -> Header:
    """Parse a `.hea` file; a date or time after the record's length is not looked at. InputError names the file."""
    regular_size(path)
    text = path.read_bytes().decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    comments = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    lines = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD_LINE.match(lines[0]) if lines and "\0" not in text else None
    if record is None:
        raise InputError(f"{path}: is no WFDB header; the first line must be 'NAME SIGNALS RATE SAMPLES'")
    fs = check_rate(_number(record["fs"], path, "sampling rate"), str(path))
    samples = int(record["samples"]) if record["samples"] and int(record["samples"]) else None
    described = lines[1:]
    if record["segments"]:
        segments = tuple(_parse_segment(line, number, path) for number, line in enumerate(described, 1))
        if len(segments) != int(record["segments"]):
            raise InputError(f"{path}: announces {record['segments']} segments, describes {len(segments)}")
        return Header(record["name"], fs, samples, (), segments, comments)
    if int(record["signals"]) != len(described):
        raise InputError(f"{path}: announces {record['signals']} signals, describes {len(described)}")
    if not described:
        raise InputError(f"{path}: the record is empty: it has no signals")
    signals = tuple(_parse_signal(line, number, path) for number, line in enumerate(described, 1))
    return Header(record["name"], fs, samples, signals, (), comments)


def record_files(path: Path) -> list[Path]:
    """All files that the record of a `.hea` file is made of, there or not; itself first."""
    headers, signals = [path], []
    for header in headers:
        with suppress(InputError, OSError):  # told when the record is read
            known = read_header(header)
            signals += [path.with_name(signal.file) for signal in known.signals]
            if header is path:
                headers += [path.with_name(f"{name}.hea") for name in known.segments]
    return list(dict.fromkeys([*headers, *signals]))


def _parse_segment(line: str, number: int, path: Path) -> str:
    found = _SEGMENT_LINE.fullmatch(line)
    if found is None:
        raise InputError(
            f"{path}: segment {number} cannot be understood: '{line[:80]}'; "
            "it must be 'NAME SAMPLES', of a record beside this header"
        )
    return found["name"]


def _parse_signal(line: str, number: int, path: Path) -> Signal:
    found = _SIGNAL_LINE.fullmatch(line)
    if found is None:
        raise InputError(f"{path}: signal {number} cannot be understood: '{line[:80]}'")
    if Path(found["file"]).name != found["file"]:
        raise InputError(f"{path}: signal {number} lies in '{found['file']}', not beside its header")
    lead = found["lead"] or f"signal {number}"
    gain = _number(found["gain"] or "0", path, f"gain of '{lead}'")
    if gain == 0:
        raise InputError(f"{path}: '{lead}' has no gain, so its voltage is unknown; write ADC units a mV, as '200/mV'")
    return Signal(
        file=found["file"],
        format=found["format"],
        per_frame=int(found["per_frame"] or 1),
        skew=int(found["skew"] or 0),
        offset=int(found["offset"] or 0),
        gain=gain,
        baseline=int(found["baseline"] or found["zero"] or 0),
        unit=found["unit"] or "mV",
        lead=lead,
    )


def _number(text: str, path: Path, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{path}: {what} '{text[:40]}' is no number")
    return value


def _is_plain(signals: Sequence[Signal]) -> bool:
    """Format 16, one file, one sample of each signal after the other."""
    first = signals[0]
    same_file = all(s.file == first.file and s.offset == first.offset for s in signals)
    return same_file and all(s.format == "16" and s.per_frame == 1 and s.skew == 0 for s in signals)


def _read_format_16(path: Path, header: Header, unit: str | float | None) -> tuple[np.ndarray, list[str]]:
    signals = header.signals
    file = path.with_name(signals[0].file)
    size = _check_size(path, header, signals)
    samples = header.samples or max(0, size - signals[0].offset) // (2 * len(signals))
    raw = np.fromfile(file, "<i2", count=samples * len(signals), offset=signals[0].offset)
    raw = raw.reshape(samples, len(signals))
    if unit is None:
        scale = np.array([millivolts_per(s.unit, f"{path}: '{s.lead}'") / s.gain for s in signals])
        signal = (raw - np.array([s.baseline for s in signals], np.float64)) * scale
    else:
        signal = raw * millivolts_per(unit, str(path))
    signal[raw == -32768] = np.nan
    return signal.T, [s.lead for s in signals]


def _read_by_wfdb(path: Path, header: Header, unit: str | float | None) -> tuple[np.ndarray, Sequence[str]]:
    _check_files(path, header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing wfdb 4.3 beside pandas 3 warns of what will be deprecated
            import wfdb

            record: Any = wfdb.rdrecord(str(path.with_suffix("")))
        signal = record.p_signal
        leads = [s.lead for s in header.signals] or [str(name) for name in record.sig_name]
        if unit is None:
            scale = [millivolts_per(unit, f"{path}: '{lead}'") for unit, lead in zip(record.units, leads, strict=True)]
            return (signal * scale).T, leads
        return (signal * record.adc_gain + record.baseline).T * millivolts_per(unit, str(path)), leads
    except ImportError as error:
        raise InputError(f"{path}: its format needs the wfdb package: pip install 'anyjepa[ecg]'") from error
    except InputError:
        raise
    except Exception as error:  # wfdb raises whatever its parsing and NumPy raise
        raise InputError(f"{path}: cannot be read by wfdb ({type(error).__name__}: {str(error)[:200]})") from error


def _check_files(path: Path, header: Header) -> None:
    """InputError unless the signal files of a record and of its segments hold what the headers describe."""
    for name in header.segments:
        if name == "~":  # a gap
            continue
        segment = path.with_name(f"{name}.hea")
        try:
            inner = read_header(segment)
        except InputError as error:
            raise InputError(f"{path}: its segment '{name}' cannot be read: {error}") from error
        if inner.segments:
            raise InputError(f"{path}: segment '{name}' is made of segments itself; a segment must be a plain record")
        _check_files(segment, inner)
    for file in dict.fromkeys(s.file for s in header.signals if s.file != "~"):  # ~: a layout, without samples
        _check_size(path, header, [s for s in header.signals if s.file == file])


def _check_size(path: Path, header: Header, signals: Sequence[Signal]) -> int:
    """Size of the file of these signals in bytes; InputError unless it holds what the header describes."""
    file = path.with_name(signals[0].file)
    try:
        size = regular_size(file)
    except InputError as error:
        raise InputError(f"{path}: its signal file cannot be read: {error}") from error
    if signals[0].format not in _BYTES or header.samples is None:
        return size
    needed = signals[0].offset + ceil(header.samples * sum(s.per_frame for s in signals) * _BYTES[signals[0].format])
    expected = f"{len(signals)} leads of {header.samples} samples in format {signals[0].format} take {needed} bytes"
    if size < needed:
        raise InputError(f"{file}: {expected}, the file has {size}; it is truncated, or holds fewer leads than named")
    if size > needed + _SLACK:
        raise InputError(
            f"{file}: {expected}, the file has {size}; it holds more leads or samples than {path.name} says"
        )
    return size


def comment_fields(comments: Sequence[str]) -> dict[str, str]:
    """'Age: 81' or '<age>: 81' as {'age': '81'}."""
    return {key.strip(" <>").lower(): value.strip() for key, _, value in (c.partition(":") for c in comments)}


def _read_comments(comments: Sequence[str]) -> tuple[float | None, str | None, frozenset[str]]:
    """Age, sex and statements as LUDB, the PhysioNet Challenges (SNOMED codes after 'Dx') and MIT-BIH write them."""
    fields = comment_fields(comments)
    age, sex = fields.get("age", ""), fields.get("sex", "")
    if mitbih := re.match(r"(\d+) ([MF]) \d+ ", comments[0] if comments else ""):
        age, sex = mitbih.groups()
    if "<diagnoses>:" in comments:
        statements = [c.rstrip(". ") for c in comments[comments.index("<diagnoses>:") + 1 :]]
    else:
        statements = [code.strip() for code in fields.get("dx", "").split(",")]
    known_sex = sex[:1].upper() if sex[:1].upper() in ("F", "M") else None
    known_age = float(age) if re.fullmatch(r"\d{1,3}", age) and int(age) <= 120 else None  # 300 stands for 'over 89'
    return known_age, known_sex, frozenset(filter(None, statements))
