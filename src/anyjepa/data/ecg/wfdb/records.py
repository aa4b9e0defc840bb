"""WFDB records: a `.hea` header, its signal files, and annotations.

`header` parses the header and `samples` reads the signal files; this file converts them to millivolts. The wfdb
package is used only for annotations: it takes 10 ms per record, averages channels that are sampled faster than
others, returns level 5 MATLAB files as raw bytes, and does not verify checksums.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyjepa.data.ecg.leads import FRANK, LEADS, canonical_lead
from anyjepa.data.ecg.recording import Recording, check_rate, millivolts_per
from anyjepa.data.ecg.wfdb.annotations import read_waves
from anyjepa.data.ecg.wfdb.header import GAP, Header, Signal, comment_fields, read_header
from anyjepa.data.ecg.wfdb.samples import INVALID, read_samples
from anyjepa.data.tables.cells import repeated
from anyjepa.errors import InputError
from anyjepa.limits import MEMORY

# Other names of ECG leads, and names of other signals in volts or without a unit (which means mV).
_LEAD = re.compile(r"-?(e[ck]g.*|lead.*|mcl.*|ml(i{1,3}|av[rlf]|v\d).*|a?v[rlf]?\d*r?|c[msc]\d)", re.IGNORECASE)
BLOCK = 2**20  # samples that are converted at once, in float64
_OTHER = re.compile(
    r"(?<![a-z])(resp|pleth|ppg|spo2|sao2|abp|art|bp|nbp|pap|cvp|icp|co2|etco2|o2|eeg|eog|emg|gsr|eda|acc|temp|flow|"
    r"hr|pulse|marker|event|trigger|status|sound|pcg|imp|res|uc)(?![a-z])|respir|pleth|accel|airflow|annotation",
    re.IGNORECASE,
)


class _Leads(NamedTuple):
    """The leads of a record: names, (L, T) float32 in mV, their rate in Hz, and the names of its other channels."""

    names: tuple[str, ...]
    signal: np.ndarray
    fs: float
    others: tuple[str, ...]


def read_wfdb(
    path: Path, id: str, source: str, unit: str | float | None = None, header: Header | None = None
) -> Recording:
    """Read the record of a `.hea` file in mV, without channels that are not ECG leads (`Recording.other_channels`).

    The rate of a lead is the header's rate times its samples per frame. unit: size of an ADC unit, which replaces the
    header's gain and baseline. LUDB needs it ('uV'): its headers scale every lead to 1 mV peak to peak, while its ADC
    units obey Einthoven's law and are uV. header: content of the file, if it was parsed before. Raises InputError, with
    the file, for any contradiction.
    """
    header = header or read_header(path)
    leads = _join_segments(path, header, unit) if header.segments else _read_leads(path, header, unit)
    age, sex, statements = _read_comments(header.comments)
    is_ludb = "<diagnoses>:" in header.comments
    return Recording(
        id=id,
        signal=leads.signal,
        fs=leads.fs,
        leads=leads.names,
        patient=path.stem if is_ludb else None,  # LUDB: 200 records of 200 subjects
        statements=statements,
        source="ludb" if is_ludb else source,
        age=age,
        sex=sex,
        waves=partial(read_waves, path.with_suffix(".ii"), leads.fs, leads.signal.shape[1]) if is_ludb else None,
        other_channels=leads.others,
        file=str(path),
    )


def _read_leads(path: Path, header: Header, unit: str | float | None) -> _Leads:
    """The leads of a record without segments."""
    chosen = [signal for signal in header.signals if _is_lead(signal)]
    if not chosen:
        names = ", ".join(f"'{signal.lead}' in {signal.unit}" for signal in header.signals)
        raise InputError(f"{path}: has no ECG lead; its signals are {names}")
    names = [signal.lead for signal in chosen]
    if twice := repeated(names):
        raise InputError(f"{path}: lead '{twice[0]}' occurs more than once in {', '.join(names)}")
    if len({signal.per_frame for signal in chosen}) > 1:
        rates = ", ".join(f"'{signal.lead}' {header.fs * signal.per_frame:g} Hz" for signal in chosen)
        raise InputError(f"{path}: its leads have different sampling rates ({rates}), which is not supported")
    fs = check_rate(header.fs * chosen[0].per_frame, str(path))
    samples = read_samples(path, header)
    volts = np.empty((len(chosen), len(samples[header.signals.index(chosen[0])])), np.float32)
    rows = iter(volts)
    for place, signal in enumerate(header.signals):
        adc, samples[place] = samples[place], np.empty(0)  # so that it is not in memory twice
        if _is_lead(signal):
            _millivolts(path, signal, adc, unit, next(rows))
    return _Leads(tuple(names), volts, fs, tuple(signal.lead for signal in header.signals if not _is_lead(signal)))


def _is_lead(signal: Signal) -> bool:
    """Whether a signal is an ECG lead, by its name, or else by its unit."""
    if canonical_lead(signal.lead) in (*LEADS, *FRANK) or _LEAD.fullmatch(signal.lead):
        return True
    try:
        millivolts_per(signal.unit, "")
    except InputError:
        return False
    return not _OTHER.search(signal.lead)


def _millivolts(path: Path, signal: Signal, samples: np.ndarray, unit: str | float | None, row: np.ndarray) -> None:
    """Convert ADC units to `row`, (T,) float32 in mV; invalid samples, and those lost to skew, are NaN."""
    baseline = 0.0
    if unit is not None:
        scale = millivolts_per(unit, str(path))
    elif signal.gain == 0:
        raise InputError(
            f"{path}: '{signal.lead}' has no gain, so its voltage is unknown; "
            "write ADC units per mV into the header, such as '200/mV', or set unit to the size of one ADC unit"
        )
    else:
        scale = millivolts_per(signal.unit, f"{path}: '{signal.lead}'") / signal.gain
        if np.isinf(scale):
            raise InputError(f"{path}: '{signal.lead}' has a gain of {signal.gain:g}, too small for any voltage")
        baseline = np.float64(signal.baseline)
    for start in range(0, len(samples), BLOCK):
        part = samples[start : start + BLOCK]
        row[start : start + BLOCK] = np.where(part == INVALID.get(signal.format), np.nan, (part - baseline) * scale)
    if signal.skew:  # this many frames precede the first sample
        late = min(signal.skew * signal.per_frame, len(row))
        row[: len(row) - late] = row[late:].copy()
        row[len(row) - late :] = np.nan


def _join_segments(path: Path, header: Header, unit: str | float | None) -> _Leads:
    """The leads of a multi-segment record, NaN where a segment lacks one; a segment of 0 samples is only a layout."""
    frames = sum(segment.samples for segment in header.segments)
    if header.samples not in (None, frames):
        raise InputError(f"{path}: declares {header.samples} samples, but its segments have {frames}")
    headers = {
        segment.name: _read_segment_header(path, header, segment.name, segment.samples)
        for segment in header.segments
        if segment.name != GAP and segment.samples
    }
    signals = [signal for inner in headers.values() for signal in inner.signals if _is_lead(signal)]
    if not signals:
        raise InputError(f"{path}: no segment has an ECG lead")
    per_frame = max(signal.per_frame for signal in signals)
    names = tuple(dict.fromkeys(signal.lead for signal in signals))
    MEMORY.check(4 * len(names) * per_frame * frames, f"{path}")
    volts = np.full((len(names), frames * per_frame), np.nan, np.float32)
    rows = dict(zip(names, volts, strict=True))
    others: list[str] = []
    start = 0
    for segment in header.segments:
        end = start + segment.samples * per_frame
        inner = headers.get(segment.name)
        if inner and any(_is_lead(signal) for signal in inner.signals):
            leads = _read_leads(path.with_name(f"{segment.name}.hea"), inner, unit)
            for name, row in zip(leads.names, leads.signal, strict=True):
                if len(row) != end - start:
                    raise InputError(
                        f"{path}: segment '{segment.name}' has {len(row)} samples of '{name}' instead of {end - start}"
                    )
                rows[name][start:end] = row
        others += [signal.lead for signal in inner.signals if not _is_lead(signal)] if inner else []
        start = end
    return _Leads(names, volts, check_rate(header.fs * per_frame, str(path)), tuple(dict.fromkeys(others)))


def _read_segment_header(path: Path, whole: Header, name: str, samples: int) -> Header:
    """The header of a segment. Raises InputError unless it is a plain record of the same rate and declared length."""
    try:
        inner = read_header(path.with_name(f"{name}.hea"))
    except InputError as error:
        raise InputError(f"{path}: its segment '{name}' cannot be read: {error}") from error
    if inner.segments:
        raise InputError(f"{path}: segment '{name}' has segments of its own; a segment must be a plain record")
    if inner.fs != whole.fs:
        raise InputError(f"{path}: segment '{name}' has {inner.fs:g} frames per second, but the record {whole.fs:g}")
    if inner.samples not in (None, samples):
        raise InputError(f"{path}: segment '{name}' has {inner.samples} samples instead of {samples}")
    return inner


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
