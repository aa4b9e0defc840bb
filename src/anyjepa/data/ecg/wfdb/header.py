"""WFDB headers: the `.hea` file that describes a record.

Parsing is strict, so that a mistake is an error and never another number. Record names may contain any character except
white space. Missing values for which the specification has a default are errors if the default would change the signal:
a header without a rate (250 Hz in the specification) is refused here, and a lead without a gain (200 ADC units per
unit) when it is read.
Format: https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from anyjepa.data.ecg.leads import FRANK, LEADS, canonical_lead
from anyjepa.data.ecg.recording import FS_RANGE
from anyjepa.data.files import read_bytes
from anyjepa.data.mounts import exists
from anyjepa.errors import InputError
from anyjepa.limits import COLUMNS

GAP = "~"
"""Name of a segment or signal file without samples."""

_WHOLE = re.compile(r"[-+]?[0-9]{1,15}")
_COUNT = re.compile(r"\+?[0-9]{1,15}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# After the rate: counter frequency and base counter value, which are not used.
_RATE = re.compile(rf"({_NUMBER.pattern})(/{_NUMBER.pattern})?(\({_NUMBER.pattern}\))?")
_FORMAT = re.compile(r"([0-9]{1,3})(?:x([0-9]{1,6}))?(?::([0-9]{1,15}))?(?:\+([0-9]{1,15}))?")
_GAIN = re.compile(rf"({_NUMBER.pattern})(?:\(([-+]?[0-9]{{1,15}})\))?(?:/(\S+))?")
_NAME_AND_SEGMENTS = re.compile(r"(.+)/([0-9]{1,15})")
_SPACED_FILE = re.compile(r"\S+(\s\S+)+?\.[A-Za-z]\w*(?=\s+[0-9])")
_FOLDERS = re.compile(r"[\\/]")
_SEGMENT_LINE = re.compile(r"(?P<name>[^\s/\\]+)\s+(?P<samples>[0-9]{1,15})")


class Signal(NamedTuple):
    """One signal line of a header. gain in ADC units per `unit`, 0 if uncalibrated; baseline in ADC units."""

    file: str  # relative to the header's folder, and inside it
    format: str
    per_frame: int  # samples per frame
    skew: int  # frames before the first sample
    offset: int  # bytes before the first sample; samples for FLAC
    gain: float
    baseline: int
    unit: str
    initial: int | None  # the first sample
    checksum: int | None  # sum of all samples modulo 2^16, signed or not
    lead: str


@dataclass(frozen=True)
class Segment:
    """One segment of a multi-segment record: the name of a record, or `GAP`, and its number of frames."""

    name: str
    samples: int


@dataclass(frozen=True)
class Header:
    """Content of a `.hea` file. fs: frames per second; samples: frames, None if the header does not say."""

    fs: float
    samples: int | None
    signals: tuple[Signal, ...]
    segments: tuple[Segment, ...]  # of a multi-segment record, which has no signals of its own
    comments: tuple[str, ...]


def read_header(path: Path) -> Header:
    """Parse a `.hea` file; a date or time after the record's length is ignored. Raises InputError."""
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", _decode(read_bytes(path)))]
    comments = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or "\0" in "".join(lines):
        raise _not_a_header(path)
    first, *described = lines
    COLUMNS.check(len(described), f"{path}")
    name, *fields = first.split()
    parts = _NAME_AND_SEGMENTS.fullmatch(name)
    if parts and all(len(line.split()) <= 2 for line in described):  # else a name like 'folder/1'
        name, count = parts.groups()
        fields = _record_fields(fields, path, first, described)
        segments = tuple(_parse_segment(line, number, path) for number, line in enumerate(described, 1))
        if len(segments) != int(count):
            raise InputError(f"{path}: declares {count} segments, but describes {len(segments)}")
        return Header(*_rate_and_samples(fields, path), (), segments, comments)
    fields = _record_fields(fields, path, first, described)
    if int(fields[0]) != len(described):
        raise InputError(f"{path}: declares {fields[0]} signals, but describes {len(described)}")
    if not described:
        raise InputError(f"{path}: the record is empty: it has no signals")
    fs, samples = _rate_and_samples(fields, path)
    folder = name.rpartition("/")[0]
    signals = [_parse_signal(line, number, path, folder) for number, line in enumerate(described, 1)]
    return Header(fs, samples, tuple(_numbered(signals)), (), comments)


def record_files(path: Path) -> list[Path]:
    """All files of the record of a `.hea` file, whether they exist or not; the header comes first."""
    headers, signals = [path], []
    for header in headers:
        with suppress(InputError, OSError):  # reported when the record is read
            inner = read_header(header)
            signals += [path.parent / signal.file for signal in inner.signals if signal.file != GAP]
            if header is path:
                headers += [path.with_name(f"{s.name}.hea") for s in inner.segments if s.name != GAP]
    return list(dict.fromkeys([*headers, *signals]))


def comment_fields(comments: Sequence[str]) -> dict[str, str]:
    """'Age: 81' or '<age>: 81' as {'age': '81'}."""
    return {key.strip(" <>").lower(): value.strip() for key, _, value in (c.partition(":") for c in comments)}


def _decode(content: bytes) -> str:
    """UTF-8 with or without a byte order mark, UTF-16 with one, or else Latin-1, in which any bytes are text."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _not_a_header(path: Path) -> InputError:
    return InputError(f"{path}: is not a WFDB header; the first line must be 'NAME SIGNALS RATE SAMPLES'")


def _record_fields(fields: list[str], path: Path, first: str, described: Sequence[str]) -> list[str]:
    """The fields after the name in the first line. Raises InputError if the first is not a number of signals."""
    _refuse_spaces(path, first, described)
    if not fields or not re.fullmatch(r"[0-9]{1,15}", fields[0]):
        raise _not_a_header(path)
    if len(fields) == 1:
        raise InputError(
            f"{path}: gives no sampling rate; write it after the number of signals, '{first} RATE SAMPLES'"
        )
    return fields


def _rate_and_samples(fields: Sequence[str], path: Path) -> tuple[float, int | None]:
    rate = _RATE.fullmatch(fields[1])
    fs = _number(rate[1] if rate else fields[1], path, "sampling rate")
    if fs <= 0:
        low, high = FS_RANGE
        raise InputError(f"{path}: the sampling rate is {fs:g} Hz; an ECG has {low:g} to {high:g} Hz")
    return fs, (_whole(fields[2], path, "number of samples", _COUNT) or None) if len(fields) > 2 else None


def _refuse_spaces(path: Path, first: str, described: Sequence[str]) -> None:
    """Raise InputError if a record or a signal file has a space in its name, which would shift all later fields."""
    for line in described:
        fields = line.split(None, 2)[1:]
        if fields and not _FORMAT.fullmatch(fields[0]) and (spaced := _SPACED_FILE.match(line)):
            raise _with_space(path, spaced[0])
    if any(re.match(r"\S+\s+[0-9]+x", line) for line in described):  # the rate of frames may be 1 Hz
        return
    words = first.split()
    for end in range(2, len(words) - 1):
        rate, low = words[end + 1], words[1:3]
        shifted = words[end] == str(len(described)) and _is_rate(rate)
        if shifted and not (low[0] == str(len(described)) and _is_rate(low[1])):
            raise _with_space(path, " ".join(words[:end]))


def _is_rate(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and FS_RANGE[0] <= float(text) <= FS_RANGE[1]


def _with_space(path: Path, name: str) -> InputError:
    return InputError(f"{path}: name '{name}' has a space, which WFDB does not allow; rename the record's files")


def _parse_segment(line: str, number: int, path: Path) -> Segment:
    match = _SEGMENT_LINE.fullmatch(line)
    if match is None or match["name"] in (".", ".."):
        raise InputError(
            f"{path}: cannot parse segment {number}: '{line[:80]}'; "
            "it must be 'NAME SAMPLES' and name a record next to this header"
        )
    return Segment(match["name"], int(match["samples"]))


def _parse_signal(line: str, number: int, path: Path, folder: str) -> Signal:
    """folder: the folder in the record's name (see `_file`)."""
    fields = line.split(None, 8)
    lead = fields[8] if len(fields) == 9 else f"signal {number}"
    form = _FORMAT.fullmatch(fields[1]) if len(fields) > 1 else None
    gain = _GAIN.fullmatch(fields[2]) if len(fields) > 2 else None
    if form is None or form[2] == "0" or (gain is None and len(fields) > 2):
        raise InputError(f"{path}: cannot parse signal {number}: '{line[:80]}'")
    names = ("ADC resolution", "ADC zero", "initial value", "checksum", "block size")
    whole = [
        _whole(text, path, f"{name} of '{lead}'") for name, text in zip(names, fields[3:8], strict=False)
    ]  # fmt: skip
    _, zero, initial, checksum, _ = [*whole, *[None] * (5 - len(whole))]
    baseline = int(gain[2]) if gain and gain[2] else zero or 0
    return Signal(
        file=_file(fields[0], path, folder, number),
        format=form[1],
        per_frame=int(form[2] or 1),
        skew=int(form[3] or 0),
        offset=int(form[4] or 0),
        gain=_number(gain[1], path, f"gain of '{lead}'") if gain else 0.0,
        baseline=baseline,
        unit=gain[3] if gain and gain[3] else "mV",
        initial=initial,
        checksum=checksum,
        lead=lead,
    )


def _numbered(signals: Sequence[Signal]) -> Iterator[Signal]:
    """Number signals of equal name: the two 'ECG' of LTAFDB become 'ECG 1' and 'ECG 2'. Usual leads must not repeat."""
    names = Counter(signal.lead for signal in signals)
    seen = Counter[str]()
    for signal in signals:
        seen[signal.lead] += 1
        repeats = names[signal.lead] > 1 and canonical_lead(signal.lead) not in (*LEADS, *FRANK)
        yield signal._replace(lead=f"{signal.lead} {seen[signal.lead]}") if repeats else signal


def _file(name: str, path: Path, folder: str, number: int) -> str:
    """Path of a signal file relative to the header's folder.

    PTB-XL+ names files relative to the data set's root, as 'folder/name', although they are next to the header.
    """
    *parents, last = _inside(name, f"{path}: signal {number}")
    if folder and "/".join(parents) == folder and not exists(path.parent.joinpath(*parents, last)):
        return last
    return "/".join((*parents, last))


def _inside(name: str, what: str) -> list[str]:
    """The parts of a relative path. Raises InputError if it may leave its folder."""
    parts = _FOLDERS.split(name)
    if ".." in parts or "." in parts or "" in parts or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{what} is in '{name[:80]}', outside the folder of its header")
    return parts


def _whole(text: str, path: Path, what: str, form: re.Pattern[str] = _WHOLE) -> int:
    if not form.fullmatch(text):
        raise InputError(f"{path}: {what} '{text[:40]}' is not a whole number")
    return int(text)


def _number(text: str, path: Path, what: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {what} '{text[:40]}' is not a number")
    return value
