"""Prepare recordings for an encoder: select leads, fill gaps, resample, standardise and clip."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config
from anyjepa.data.ecg.leads import LEADS, canonical_leads, derive_limb, limb_source
from anyjepa.data.ecg.recording import Rate, Recording
from anyjepa.data.modality import Preprocessing
from anyjepa.errors import DataWarning, InputError, did_you_mean
from anyjepa.limits import MEMORY

Gaps = Literal["interpolate", "refuse"]
MissingLeads = Literal["refuse", "zero", "mask"]
Leads = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(canonical_leads)]
IN_TRAINING = (
    "Train on fewer with data.leads=[...], set it to zero with data.missing_leads=zero, "
    "mask it with data.missing_leads=mask and objective.encoder.absent=true, "
    "or skip such records with data.on_error=skip"
)
_IN_USE = (
    "Skip such records with --skip-errors, or use a model that was trained on these leads or with "
    "data.missing_leads=mask"
)
OUTLIER = 100
"""Leads this many times larger than usual are excluded from the statistics. Between persons, leads vary tenfold."""

BLOCK = 2**22  # values that are filtered at once, of a record with more than one lead
Highpass = Annotated[float, Field(gt=0, le=5)]


class SourceConstants(Config):
    """Constants for recordings of one source, which replace the common ones."""

    mean: tuple[float, ...] = Field(description="mean of each lead, mV")
    std: tuple[PositiveFloat, ...] = Field(description="standard deviation of each lead, mV")
    highpass_hz: PositiveFloat | None = Field(description="remove baseline wander below this, Hz; null: no filter")


class EcgInputs(Config):
    """Settings of an encoder's ECGs that a recipe and a saved model share."""

    fs: Rate = Field(default=500.0, description="sampling rate that the encoder sees, Hz")
    leads: Leads = Field(default=LEADS, description="leads, in the encoder's order")
    clip: PositiveFloat | None = Field(
        default=5.0, description="standardised values are clipped to +- this; null: no clipping"
    )
    gaps: Gaps = Field(default="interpolate", description="NaN gaps: linear interpolation within the lead, or an error")
    missing_leads: MissingLeads = Field(
        default="refuse",
        description="what to do with missing leads; refuse: an error; zero: zero (the mean) after standardising; mask: "
        "NaN, from which the encoder learns which leads are missing (needs encoder.absent)",
    )
    highpass_hz: Highpass | None = Field(
        default=None, description="remove baseline wander below this frequency, Hz (CODE-15, St. Petersburg: 0.5)"
    )
    absolute_time: bool = Field(
        default=False, description="positions of a crop are its place in the record; false: 0, 1, 2, ... (as published)"
    )

    @property
    def channels(self) -> int:
        return len(self.leads)

    @property
    def absolute(self) -> bool:
        return self.absolute_time

    def inputs(self) -> dict[str, Any]:
        """The settings of `EcgInputs`, without those of a subclass."""
        return {name: getattr(self, name) for name in EcgInputs.model_fields}


class EcgPreprocessing(EcgInputs, Preprocessing):
    """Settings and constants to prepare recordings as in the training of a model."""

    kind: Literal["ecg"] = "ecg"
    samples: PositiveInt = Field(default=5000, description="length of a training crop, samples at `fs`")
    unit: Literal["mV"] = Field(default="mV", description="unit of mean and std")
    mean: tuple[float, ...] = Field(description="mean of each lead over the training part, mV")
    std: tuple[PositiveFloat, ...] = Field(description="standard deviation of each lead over the training part, mV")
    by_record: bool = Field(
        default=False,
        description="standardise each lead by its own mean and standard deviation over the record, as ECG-FM does, "
        "instead of by `mean` and `std`; flat leads become zero",
    )
    per_source: dict[str, SourceConstants] = Field(
        default={}, description="mean, std and highpass_hz for recordings of these sources"
    )

    @model_validator(mode="after")
    def _one_constant_a_lead(self) -> Self:
        if not len(self.leads) == len(self.mean) == len(self.std):
            raise ValueError(f"{len(self.leads)} leads, but {len(self.mean)} means and {len(self.std)} stds")
        for source, own in self.per_source.items():
            if not len(self.leads) == len(own.mean) == len(own.std):
                raise ValueError(f"per_source.{source}: {len(self.leads)} leads need as many means and stds")
        return self

    @property
    def duration_s(self) -> float:
        return self.samples / self.fs

    @property
    def size(self) -> tuple[int]:
        """Samples of a full input."""
        return (self.samples,)

    @property
    def rate(self) -> float:
        return self.fs

    @property
    def channel_names(self) -> tuple[str, ...]:
        return self.leads

    def prepare(self, recording: Recording) -> np.ndarray:
        """The whole recording as the encoder sees it, (L, T) float32. Raises InputError with the file and the lead."""
        return self.for_source(recording.source).standardise(self.align(recording))

    def align(self, recording: Recording) -> np.ndarray:
        """Align a recording, (L, T) float32 in mV. `standardise` is the remaining step. Raises InputError."""
        own = self.for_source(recording.source)
        return align(recording, own.fs, own.leads, own.gaps, own.missing_leads, own.highpass_hz, advice=_IN_USE)

    @property
    def restored_unit(self) -> str:
        """Of restored values. The standard deviations of single records are not known any more."""
        return "SD" if self.by_record else "mV"

    def restore(self, x: np.ndarray, source: str) -> np.ndarray:
        """Convert prepared values back to mV, or with `by_record` to standard deviations, (L, T); clipped stays so."""
        if self.by_record:
            return x
        own = self.for_source(source)
        return x * np.array(own.std)[:, None] + np.array(own.mean)[:, None]

    def for_source(self, source: str) -> EcgPreprocessing:
        """Preprocessing with the constants and the filter of this source, if it has its own."""
        own = self.per_source.get(source)
        return self.model_copy(update=dict(own)) if own else self

    def standardise(self, signal: np.ndarray) -> np.ndarray:
        """Standardise an aligned signal (L, T) in mV to float32 as the encoder sees it."""
        prepared, clip = np.empty(signal.shape, np.float32), np.inf if self.clip is None else self.clip
        for lead, mean, std, out in zip(signal, self.mean, self.std, prepared, strict=True):  # in float64
            if np.isnan(lead[0]) and self.missing_leads != "mask":
                out[:] = 0.0  # missing leads are NaN throughout
                continue
            if self.by_record:
                mean, std = lead.mean(dtype=np.float64), lead.std(dtype=np.float64) if np.ptp(lead) else np.inf
            np.clip((lead - np.float64(mean)) / std, -clip, clip, out=out, casting="same_kind")
        return prepared


def align(
    recording: Recording,
    fs: float,
    leads: Sequence[str],
    gaps: Gaps = "interpolate",
    missing_leads: MissingLeads = "refuse",
    highpass_hz: float | None = None,
    advice: str = "",
) -> np.ndarray:
    """Select `leads` and resample to `fs`, (L, T) float32 in mV. With 'zero' and 'mask', missing leads are NaN.

    Missing limb leads are computed if two others determine them exactly (`derived_leads` lists them). Gaps are filled
    first. Then the filter is applied, at the original rate, unless the recording is already filtered. Raises InputError
    for missing leads with 'refuse', with `advice`, for a record with none of `leads`, and for gaps that cannot be
    filled.
    """
    highpass_hz = None if recording.highpass_hz == highpass_hz else highpass_hz
    rows = {lead: _fill_gaps(recording, lead, gaps) for lead in recording.leads if lead in _needed(recording, leads)}
    for lead in leads:
        if lead not in recording.leads and (pair := limb_source(lead, recording.leads)):
            rows[lead] = derive_limb(lead, *pair, rows)
        elif lead not in recording.leads and missing_leads == "refuse":
            raise _missing(recording, lead, leads, advice)
    if not any(lead in rows for lead in leads):
        raise InputError(
            f"{recording.where}: has none of the leads {', '.join(leads)}; it has {', '.join(recording.leads)}"
        )
    samples = recording.signal.shape[1]
    check_resampled(len(leads), samples, recording.fs, fs)
    absent = np.full(samples, np.nan, np.float32)
    at_once = max(1, BLOCK // samples)  # leads; fewer for long records, because filters need much memory
    aligned = np.empty((len(leads), 0), np.float32)
    for first in range(0, len(leads), at_once):
        signal = np.stack([rows.get(lead, absent) for lead in leads[first : first + at_once]])
        signal = signal if highpass_hz is None else highpass(signal, recording.fs, highpass_hz)
        signal = resample(signal, recording.fs, fs)
        if at_once >= len(leads):
            return signal
        if not first:
            aligned = np.empty((len(leads), signal.shape[1]), np.float32)
        aligned[first : first + at_once] = signal
    return aligned


def derived_leads(recording: Recording, leads: Sequence[str]) -> tuple[str, ...]:
    """The limb leads that `align` would compute from two others of the recording."""
    return tuple(x for x in leads if x not in recording.leads and limb_source(x, recording.leads))


def absent_leads(recording: Recording, leads: Sequence[str]) -> tuple[str, ...]:
    """The leads that the recording neither has nor determines."""
    return tuple(x for x in leads if x not in recording.leads and not limb_source(x, recording.leads))


def highpass(signal: np.ndarray, fs: float, cutoff_hz: float) -> np.ndarray:
    """Remove slow components of a signal (L, T) float32: Butterworth of order 4, forward and backward (zero phase).

    The amplitude at the cut-off is halved. ECG-JEPA applies this filter to CODE-15 and St. Petersburg at 0.5 Hz.
    """
    from scipy.signal import sosfiltfilt

    padding = min(15, signal.shape[1] - 1)  # 15 is the default of scipy's filtfilt for this order
    filtered = sosfiltfilt(_butterworth(fs, cutoff_hz), signal.astype(np.float64), axis=1, padlen=padding)
    return filtered.astype(np.float32)


@lru_cache
def _butterworth(fs: float, cutoff_hz: float) -> np.ndarray:
    from scipy.signal import butter

    return cast(np.ndarray, butter(4, cutoff_hz, "highpass", fs=fs, output="sos"))


def resample(signal: np.ndarray, fs_from: float, fs_to: float) -> np.ndarray:
    """Resample (L, T) to (L, ceil(T * fs_to / fs_from)) with a polyphase filter, extrapolating the trend at the edges.

    Offsets of leads are removed during filtering, because the gain at 0 Hz differs by about 1e-3 between phases.
    """
    ratio = Fraction(fs_to / fs_from).limit_denominator(1000)
    if ratio == 1:
        return signal
    check_resampled(len(signal), signal.shape[1], fs_from, fs_to)
    from scipy.signal import resample_poly

    offset = signal.mean(axis=1, keepdims=True, dtype=np.float64)
    up, down = ratio.numerator, ratio.denominator
    beyond = "antireflect" if signal.shape[1] > 1 else "edge"  # scipy's C code divides by T - 1
    filtered = resample_poly(signal - offset, up, down, axis=1, window=low_pass(max(up, down)), padtype=beyond)
    return (filtered + offset).astype(np.float32)


@lru_cache
def low_pass(largest: int) -> np.ndarray:
    """The filter that `resample_poly` designs anew for every signal; largest: the larger of its two factors, above 1.

    A windowed sinc (Kaiser, beta 5), 20 times as long as that factor, (20 * largest + 1,), with sum 1.
    """
    from scipy.signal import firwin

    return cast(np.ndarray, firwin(20 * largest + 1, 1 / largest, window=cast(Any, ("kaiser", 5.0))))


def check_resampled(leads: int, samples: int, fs_from: float, fs_to: float) -> None:
    """Raise InputError if a record is too large after resampling."""
    MEMORY.check(8 * leads * samples * fs_to / fs_from, f"a record at {fs_from:g} Hz resampled to {fs_to:g} Hz")


def fit_statistics(leads: Sequence[str], signals: Iterable[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each lead in mV, without the outliers of `without_outliers`.

    signals: aligned recordings (L, T) of the training part. Raises InputError if a lead is flat or absent in all of
    them, or if there are no recordings.
    """
    counts, moments = [], []
    for signal in signals:
        counts.append(signal.shape[1])
        moments.append(deviations(signal))
    count = np.array(counts, np.int64)[:, None]
    mean, squares = np.array(moments, np.float64).reshape(-1, 2, len(leads)).swapaxes(0, 1)
    return constants(leads, *pooled(count, without_outliers(leads, count, mean, squares), squares))


def deviations(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (L,) and sum of squared deviations (L,) of a signal (L, T), in float64; NaN for a lead of NaN."""
    signal = signal.astype(np.float64)
    return signal.mean(axis=1), signal.var(axis=1) * signal.shape[1]


def without_outliers(leads: Sequence[str], count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Replace `mean` by NaN (absent) if the root mean square exceeds `OUTLIER` times the median of the lead.

    A single record with a wrong baseline, gain or unit, or with one absurd sample, would distort the statistics.
    Arrays are (n, L), as for `pooled`. Issues one DataWarning if anything is excluded.
    """
    rms = np.sqrt(mean**2 + squares / np.maximum(count, 1))
    usual = np.full(len(leads), np.inf)
    for lead, values in enumerate(rms.T):
        if len(values := np.sort(values[values > 0])):
            usual[lead] = values[(len(values) - 1) // 2]  # the lower median, which is the smaller of two records
    outliers = rms > OUTLIER * usual
    if outliers.any():
        number = int(outliers.any(axis=1).sum())
        named = ", ".join(lead for lead, n in zip(leads, outliers.sum(axis=0), strict=True) if n)
        warnings.warn(
            f"statistics: {number} record{'s' * (number > 1)}: leads more than {OUTLIER} times as large as in other "
            f"records are excluded from the mean and standard deviation ({named})",
            DataWarning,
            stacklevel=2,
        )
    return np.where(outliers, np.nan, mean)


def pooled(count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pool n parts, each with count, mean and sum of squared deviations from the mean per lead.

    (n, L) each to (L,) each; count may be (n, 1). A lead whose mean is NaN is absent from that part.
    """
    absent = np.isnan(mean)
    count = np.where(absent, 0, count)
    total = count.sum(0)
    overall = (count * np.nan_to_num(mean)).sum(0) / np.maximum(total, 1)
    return total, overall, np.where(absent, 0.0, squares + count * (mean - overall) ** 2).sum(0)


def constants(
    leads: Sequence[str], count: np.ndarray, mean: np.ndarray, squares: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per lead from the number of samples (L,), their mean and squared deviations.

    Raises InputError if a lead has no samples or is flat.
    """
    std = np.sqrt(squares / np.maximum(count, 1))
    for lead, n, deviation in zip(leads, count, std, strict=True):
        if not n:
            raise InputError(f"statistics: no training record has lead '{lead}'; remove it from data.leads")
        if deviation < 1e-6:
            raise InputError(f"statistics: lead '{lead}' is flat in every training record; remove it from data.leads")
    return tuple(mean.tolist()), tuple(std.tolist())


def _needed(recording: Recording, leads: Sequence[str]) -> set[str]:
    pairs = [limb_source(lead, recording.leads) or () for lead in leads if lead not in recording.leads]
    return {*leads, *(lead for pair in pairs for lead in pair)}


def _fill_gaps(recording: Recording, lead: str, gaps: Gaps) -> np.ndarray:
    row = recording.signal[recording.leads.index(lead)]
    invalid = np.isnan(row)
    if not invalid.any():
        return row
    if invalid.all():
        raise InputError(f"{recording.where}: lead '{lead}' has no valid samples")
    if gaps == "refuse":
        first_s = int(invalid.argmax()) / recording.fs
        raise InputError(
            f"{recording.where}: lead '{lead}' has {invalid.sum()} invalid samples, the first at {first_s:g} s; "
            "gaps='interpolate' fills them"
        )
    times = np.arange(len(row))
    return np.interp(times, times[~invalid], row[~invalid]).astype(np.float32)


def _missing(recording: Recording, lead: str, leads: Sequence[str], advice: str) -> InputError:
    hint = "" if lead in LEADS else did_you_mean(lead, LEADS)
    has = ", ".join(recording.leads)
    needed = f"lead '{lead}' is missing ({len(leads)} are needed){hint}"
    return InputError(f"{recording.where}: {needed}. Has: {has}. {advice}".rstrip())
