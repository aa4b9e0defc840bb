"""An ECG as it was read, independent of the file format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from numbers import Real
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from anyjepa.data.class_folders import Part
from anyjepa.data.ecg.leads import canonical_lead
from anyjepa.data.tables.cells import repeated
from anyjepa.errors import InputError, did_you_mean

FS_RANGE = (25.0, 50_000.0)
"""Sampling rates in Hz that an ECG can have. Others are mistakes."""

MOST_MV = 1e12
"""No device records a billion volts; squares of smaller values can be summed in float32."""

Rate = Annotated[float, Field(ge=FS_RANGE[0], le=FS_RANGE[1])]
"""A sampling rate in a config."""

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "v": 1e3}  # micro sign and Greek mu


@dataclass(frozen=True, eq=False)
class Annotations:
    """Marks in time, such as beats: sample numbers at the recording's own rate, and symbols as in the source."""

    samples: np.ndarray  # (n,) int64
    symbols: tuple[str, ...]


class Delineation(NamedTuple):
    """P, QRS and T waves, in s from the start of a record. Only the part inside `scope` is annotated."""

    names: tuple[str, ...]  # 'P', 'QRS' or 'T' for each wave; '' if unknown
    onsets: np.ndarray  # (n,)
    offsets: np.ndarray  # (n,)
    scope: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Recording:
    """One ECG as read. Lead names are made canonical; InputError if the parts do not fit together.

    signal: (L, T) float32 in mV, NaN where the file says invalid; fs in Hz; age in years.
    """

    id: str  # unique in its source; for a file, its path in the folder, without suffix
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    patient: str | None = None  # None: unknown
    statements: frozenset[str] = frozenset()  # diagnostic statements as the source names them
    source: str = ""  # 'ludb', 'simulator', a folder's name
    age: float | None = None
    sex: str | None = None  # 'F', 'M'
    split: Part | None = None  # the part that the source publishes it in
    likelihoods: Mapping[str, float] = field(default_factory=dict)  # of statements, percent, where the source says
    annotations: Annotations | None = None
    waves: Callable[[], Delineation] | None = None  # reads the waves that are annotated; raises InputError
    highpass_hz: float | None = None  # cut-off of the filter that was applied (`preprocessing.highpass`)
    other_channels: tuple[str, ...] = ()  # channels of the file that were left out because they are not ECG leads
    file: str = ""  # file for error messages

    def __post_init__(self) -> None:
        object.__setattr__(self, "leads", tuple(canonical_lead(lead) for lead in self.leads))
        with np.errstate(over="ignore", invalid="ignore"):  # overflow becomes infinite, which is refused
            object.__setattr__(self, "signal", np.ascontiguousarray(self.signal, np.float32))
        object.__setattr__(self, "fs", check_rate(self.fs, self.where))
        if self.signal.ndim != 2 or len(self.signal) != len(self.leads):
            raise InputError(
                f"{self.where}: {len(self.leads)} leads are named, the signal has shape {self.signal.shape}; "
                "it must be (leads, samples)"
            )
        if not self.signal.size:
            raise InputError(f"{self.where}: the record is empty (signal of shape {self.signal.shape})")
        if twice := repeated(self.leads):
            raise InputError(f"{self.where}: lead '{twice[0]}' occurs more than once in {', '.join(self.leads)}")
        highest, lowest = np.fmax.reduce(self.signal, axis=1), np.fmin.reduce(self.signal, axis=1)  # without NaN
        if (beyond := (highest > MOST_MV) | (lowest < -MOST_MV)).any():
            lead = self.leads[int(beyond.argmax())]
            raise InputError(
                f"{self.where}: lead '{lead}' has values that are infinite or beyond {MOST_MV:g} mV; "
                "mark invalid samples with NaN"
            )

    @property
    def where(self) -> str:
        """Start of error messages: the file, or the id of the record."""
        return self.file or f"record '{self.id}'"

    def outline(self) -> Recording:
        """The recording without its samples, which is enough to derive labels."""
        outline = copy(self)
        object.__setattr__(outline, "signal", np.empty((len(self.leads), 0), np.float32))
        return outline

    @property
    def duration_s(self) -> float:
        return self.signal.shape[1] / self.fs

    @property
    def group(self) -> str:
        """Name of what no split may divide: the patient (of this source), or the record if the patient is unknown."""
        return f"{self.source}/{self.patient}" if self.patient is not None else self.id


def millivolts_per(unit: object, where: str) -> float:
    """Size of a unit in mV: 'mV', 'uV', 'V' or 'nV' in any letter case, or a number. Raises InputError for others."""
    if isinstance(unit, str):
        factor = _MILLIVOLTS.get(unit.strip().lower())
        if factor is None and unit.strip().replace(".", "", 1).isdecimal():
            return millivolts_per(float(unit), where)
        if factor is None:
            raise InputError(f"{where}: unit '{unit}' is not a voltage{did_you_mean(unit, ['mV', 'uV', 'V', 'nV'])}")
        return factor
    factor = float(unit) if isinstance(unit, Real) and not isinstance(unit, bool) else np.nan
    if not 0 < factor < np.inf:
        raise InputError(f"{where}: unit {unit} must be a positive number of mV, or one of mV, uV, V, nV")
    return factor


def check_rate(fs: Any, where: str) -> float:
    """fs in Hz. Raises InputError unless it can be the sampling rate of an ECG."""
    low, high = FS_RANGE
    try:
        rate = float(fs)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: sampling rate '{fs}' is not a number in Hz") from error
    if not low <= rate <= high:
        raise InputError(f"{where}: the sampling rate is {rate:g} Hz; an ECG has {low:g} to {high:g} Hz")
    return rate
