"""Check recordings for problems such as wrong units, swapped leads and flat leads. Nothing is repaired."""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil, floor

import numpy as np

from anyjepa.data.ecg.leads import LEADS, LIMB, derive_limb
from anyjepa.data.ecg.preprocessing import absent_leads
from anyjepa.data.ecg.recording import Recording
from anyjepa.errors import DataWarning

USUAL_MV = 1.5
"""Peak-to-peak amplitude of an ordinary 12-lead ECG in mV, median over the leads."""

LARGEST_MV = 1000.0
"""Electrocardiographs do not record more: their range covers electrode offsets of 300 mV and little beyond."""

_UNITS = {1000.0: "uV", 0.001: "V"}  # in which voltages are that many times too large

_MEANING = {
    "einthoven": "leads contradict III = II - I or Goldberger's laws: leads swapped, mislabelled or scaled apart",
    "unit": "amplitudes are a power of ten away from those of an ECG in mV: wrong unit or gain",
    "normalised": "all leads span the same range: they were scaled one by one, so amplitudes are not mV; "
    "for WFDB files try --unit uV",
    "flat": "leads are flat",
    "no signal": "leads have no valid samples",
    "missing leads": "leads are missing and do not follow from others",
    "amplitude": "leads are implausibly large (over 20 mV peak to peak or beyond 1 V): check baseline, gain and damage",
    "gaps": "leads have invalid samples",
    "other channels": "channels are not ECG leads and were skipped",
}


@dataclass(frozen=True)
class Problem:
    """One kind of problem: the number of records that have it, and details of the first ones."""

    kind: str
    meaning: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} record{'s' * (self.count > 1)}: {self.meaning} ({'; '.join(self.examples)}{more})"


def check(recordings: Sequence[Recording], examples: int = 3) -> list[Problem]:
    """The problems of the recordings, one per kind, with at most `examples` examples each."""
    problems: list[Problem] = []
    deque(checked(recordings, problems, examples), maxlen=0)
    return problems


def checked(recordings: Iterable[Recording], problems: list[Problem], examples: int = 3) -> Iterator[Recording]:
    """Pass recordings on one at a time and, after the last one, add the problems of all to `problems` (see `check`)."""
    outlines, details = [], []
    for recording in recordings:
        outlines.append(recording.outline())
        details.append(problems_of(recording))
        yield recording
    problems += summed(outlines, details, examples)


def summed(outlines: Sequence[Recording], details: Sequence[dict[str, str]], examples: int = 3) -> list[Problem]:
    """Merge the problems of recordings into one per kind. details: result of `problems_of` for each recording."""
    expected = _expected_leads(outlines)
    for outline, of_record in zip(outlines, details, strict=True):
        if absent := absent_leads(outline, expected[outline.source]):
            of_record["missing leads"] = ", ".join(absent)
    return added_up(
        [
            Problem(kind, _MEANING[kind], 1, (f"{outline.where}: {detail}",))
            for outline, of_record in zip(outlines, details, strict=True)
            for kind, detail in of_record.items()
        ],
        examples,
    )


def added_up(problems: Sequence[Problem], examples: int = 3) -> list[Problem]:
    """Merge problems into one per kind, with at most `examples` examples each."""
    merged = []
    for kind, meaning in _MEANING.items():
        if same := [problem for problem in problems if problem.kind == kind]:
            shown = tuple(islice(chain.from_iterable(problem.examples for problem in same), examples))
            merged.append(Problem(kind, meaning, sum(problem.count for problem in same), shown))
    return merged


def warn_about(problems: Sequence[Problem]) -> None:
    """Issue one DataWarning per problem."""
    for problem in problems:
        warnings.warn(str(problem), DataWarning, stacklevel=3)


def peak_to_peak(recording: Recording) -> np.ndarray:
    """Amplitude of each lead, (L,) in mV: from the 0.1 to the 99.9 percentile, so that a spike does not count.

    NaN for a lead without valid samples.
    """
    _, low, high, _ = np.array([_quantiles(row) for row in recording.signal]).T
    return np.maximum(high - low, 0.0)


def _quantiles(row: np.ndarray) -> tuple[float, float, float, float]:
    """Smallest value, 0.1 and 99.9 percentile, and largest value of the valid samples; NaN if there are none.

    Percentiles are samples: interpolation would include part of a spike.
    """
    valid = row[~np.isnan(row)]
    if not (last := len(valid) - 1) >= 0:
        return np.nan, np.nan, np.nan, np.nan
    low, high = ceil(last * 0.001), floor(last * 0.999)
    valid.partition([0, low, high, last])  # a copy
    return float(valid[0]), float(valid[low]), float(valid[high]), float(valid[last])


def _expected_leads(recordings: Sequence[Recording]) -> dict[str, tuple[str, ...]]:
    """The leads that each source should have: all twelve if it has at least six of them, else none."""
    have: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        have[recording.source].update(lead for lead in recording.leads if lead in LEADS)
    return {source: LEADS if len(leads) >= 6 else () for source, leads in have.items()}


def problems_of(recording: Recording) -> dict[str, str]:
    """Details of each kind of problem, except missing leads."""
    problems = {}
    least, low, high, most = np.array([_quantiles(row) for row in recording.signal]).T
    ranges, robust = most - least, np.maximum(high - low, 0.0)
    usual = np.nan_to_num(np.nanmedian(robust)) if np.isfinite(robust).any() else 0.0
    flat = ranges <= 1e-3 * usual
    if empty := _names(recording, np.isnan(ranges)):
        problems["no signal"] = empty
    if flat.any():
        problems["flat"] = _names(recording, flat)
    if len(ranges) >= 6 and not flat.any() and ranges.max() < 1.02 * ranges.min():
        problems["normalised"] = f"{ranges.max():.3g} mV peak to peak in all {len(ranges)} leads"
    invalid = np.isnan(recording.signal).any(axis=1) & ~np.isnan(ranges)
    if invalid.any():
        problems["gaps"] = _names(recording, invalid)
    usable = robust[~flat & ~np.isnan(ranges)]
    typical = float(np.median(usable)) if len(usable) else 0.0
    factor = _power_of_ten(typical / USUAL_MV)
    if factor != 1:
        advice = f": try --unit {_UNITS[factor]}" if factor in _UNITS else ""
        off = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
        problems["unit"] = f"{typical:.3g} mV peak to peak, about {off}{advice}"
    reach = np.nan_to_num(np.maximum(-least, most))
    if large := _large(recording, reach, robust, max(factor, 1.0)):
        problems["amplitude"] = large
    if recording.other_channels:
        problems["other channels"] = ", ".join(recording.other_channels)
    if broken := _broken_laws(recording):
        problems["einthoven"] = broken
    return problems


def _large(recording: Recording, reach: np.ndarray, robust: np.ndarray, factor: float) -> str:
    """Describe implausibly large leads of a recording whose amplitudes are all wrong by `factor`.

    reach: (L,) largest distance from 0; robust: (L,) `peak_to_peak`.
    """
    beyond = reach > LARGEST_MV * factor
    if beyond.any():
        return f"{_names(recording, beyond)} up to {reach.max():.3g} mV"
    return f"{np.nanmax(robust):.3g} mV peak to peak" if (robust > 20 * factor).any() else ""


def _power_of_ten(ratio: float) -> float:
    """Factor by which an amplitude is wrong: 10, 1000, 0.1, ..., or 1 within a factor of 6."""
    if ratio <= 0 or 1 / 6 < ratio < 6:
        return 1
    return 10.0 ** (round(np.log10(ratio)) or np.sign(np.log10(ratio)))


def _broken_laws(recording: Recording) -> str:
    """Limb leads that contradict I and II, with the root mean square of the difference."""
    rows = dict(zip(recording.leads, recording.signal, strict=True))
    if "I" not in rows or "II" not in rows:
        return ""
    broken = []
    for lead in [name for name in LIMB if name in rows and name not in ("I", "II")]:
        difference = rows[lead] - derive_limb(lead, "I", "II", rows)
        valid = ~np.isnan(difference)
        off = float(np.std(difference[valid])) if valid.any() else 0.0
        if off > 0.02 and off > 0.02 + 0.1 * np.std([rows["I"][valid], rows["II"][valid]], axis=1).max():
            broken.append(f"{lead} by {off:.2g} mV")
    return ", ".join(broken)


def _names(recording: Recording, which: np.ndarray) -> str:
    return ", ".join(lead for lead, chosen in zip(recording.leads, which, strict=True) if chosen)
