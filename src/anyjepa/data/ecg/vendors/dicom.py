"""DICOM ECGs: 12-lead, general and ambulatory waveform objects (`.dcm`), through pydicom.

Standard: DICOM PS3.3, C.10.9 (Waveform module) and A.34 (waveform objects); PS3.16, CID 3001 (leads).
"""

from __future__ import annotations

import re
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.ecg.leads import LEADS, canonical_lead
from anyjepa.data.ecg.recording import Recording, millivolts_per
from anyjepa.data.files import Content, opened, regular_size
from anyjepa.errors import InputError, reason
from anyjepa.limits import DOCUMENT

if TYPE_CHECKING:
    from pydicom import Dataset

_TYPES = {(8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "<i2", (16, "US"): "<u2", (32, "SL"): "<i4", (32, "UL"): "<u4"}
# The codes of MDC ('2:61') and of SCP-ECG ('5.6.3-9-61') use the same numbers for leads.
_CODE = re.compile(r"(?:2:|5\.6\.3-9-)(\d+)")
_NUMBERED = {"1": "I", "2": "II", "61": "III", "62": "aVR", "63": "aVL", "64": "aVF"} | {
    str(n + 2): f"V{n}" for n in range(1, 7)
}
_YEARS = {"Y": 1, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_dicom(path: Path | Content, id: str, source: str = "", unit: str | float | None = None) -> Recording:
    """Read the rhythm of a DICOM ECG in mV. Padding (other than 0) becomes NaN.

    Derived waveforms (the median beat) are skipped. Several original waveforms are joined; they must cover the same
    time at the same rate. unit: size of a stored unit, used instead of the channels' sensitivity and baseline. The
    statements are the free-text annotations. Raises InputError for a file that cannot be read this way.
    """
    DOCUMENT.check(regular_size(path), f"{path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of malformed identifiers, which are not read here
            return _read(path, id, source, unit)
    except ImportError as error:
        raise InputError(f'{path}: DICOM needs the pydicom package: pip install "anyjepa[ecg]"') from error
    except InputError:
        raise
    except (EOFError, OSError) as error:  # pydicom raises both if a file ends early
        why = getattr(error, "strerror", None) or f"it is truncated: {error}"
        raise InputError(f"{path}: cannot be read as DICOM ({why})") from error
    except Exception as error:  # pydicom raises whatever its parsing raises, even on access to a value
        raise InputError(f"{path}: cannot be read as DICOM ({type(error).__name__}: {reason(error)})") from error


def as_request(content: Content) -> dict[str, Any]:
    """Convert a DICOM ECG to a request to `anyjepa serve`. Raises InputError."""
    recording = read_dicom(content, "")
    return {"signals": recording.signal, "fs": recording.fs, "leads": list(recording.leads), "unit": "mV"}


def _read(path: Path | Content, id: str, source: str, unit: str | float | None) -> Recording:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        _check_inflated(path)
        with opened(path) as file:
            dataset = dcmread(file)
    except InvalidDicomError as error:
        raise InputError(f"{path}: is not a DICOM file: 'DICM' is missing at byte 128") from error
    if not dataset.file_meta.TransferSyntaxUID.is_little_endian:
        raise InputError(
            f"{path}: is stored in big-endian byte order, which DICOM has retired; convert it to little-endian"
        )
    groups = _rhythm(dataset, path)
    return Recording(
        id=id,
        signal=np.concatenate([_signal(group, path, unit) for group in groups]),
        fs=float(groups[0].SamplingFrequency),
        leads=tuple(_lead(channel, path) for group in groups for channel in group.ChannelDefinitionSequence),
        patient=str(dataset.get("PatientID") or "").strip() or None,
        statements=_statements(dataset),
        source=source,
        age=_age(dataset),
        sex=sex if (sex := dataset.get("PatientSex")) in ("F", "M") else None,
        file=str(path),
    )


def _check_inflated(path: Path | Content) -> None:
    """Raise InputError if a deflated data set exceeds the size limit of a file: pydicom inflates it as a whole."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with opened(path) as file:
        read_preamble(file, force=False)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), DOCUMENT.value + 1)
            if len(inflated) > DOCUMENT.value:
                DOCUMENT.refuse(f"{path}: its inflated content")


def _rhythm(dataset: Dataset, path: Path | Content) -> list[Dataset]:
    """Return the original multiplex groups. Raises InputError if they cannot be joined."""
    groups: list[Dataset] = list(dataset.get("WaveformSequence") or ())
    if not groups:
        kind = f" ({dataset.SOPClassUID.name})" if "SOPClassUID" in dataset else ""
        raise InputError(f"{path}: has no waveform{kind}; an ECG has a Waveform Sequence (5400,0100)")
    if not (original := [group for group in groups if group.get("WaveformOriginality") != "DERIVED"]):
        raise InputError(f"{path}: has derived waveforms only: {', '.join(_named(group) for group in groups)}")
    first = original[0]
    for other in original[1:]:
        for key in ("SamplingFrequency", "NumberOfWaveformSamples", "MultiplexGroupTimeOffset"):
            if other.get(key) != first.get(key):
                raise InputError(
                    f"{path}: its waveforms differ in rate, length or start, so they cannot be joined into one record: "
                    + ", ".join(_named(group) for group in original)
                )
    return original


def _named(group: Dataset) -> str:
    label = group.get("MultiplexGroupLabel") or "unnamed"
    return f"'{label}' ({group.NumberOfWaveformSamples} samples at {group.SamplingFrequency} Hz)"


def _signal(group: Dataset, path: Path | Content, unit: str | float | None) -> np.ndarray:
    """(L, T) float64 in mV: sample * sensitivity * correction + baseline (PS3.3, C.10.9.1.4.2)."""
    stored_as = (group.WaveformBitsAllocated, group.WaveformSampleInterpretation)
    if (dtype := _TYPES.get(stored_as)) is None:
        raise InputError(
            f"{path}: has samples of {stored_as[0]} bits, '{stored_as[1]}', which are not supported; ECGs have 16, 'SS'"
        )
    channels = group.ChannelDefinitionSequence
    if group.NumberOfWaveformChannels != len(channels):
        raise InputError(f"{path}: declares {group.NumberOfWaveformChannels} channels, but describes {len(channels)}")
    shape = (group.NumberOfWaveformSamples, len(channels))
    needed = shape[0] * shape[1] * np.dtype(dtype).itemsize
    if len(group.WaveformData) < needed:
        raise InputError(
            f"{path}: {shape[1]} leads of {shape[0]} samples take {needed} bytes, but the waveform has "
            f"{len(group.WaveformData)}; it is truncated"
        )
    raw = np.frombuffer(group.WaveformData[:needed], dtype).reshape(shape)
    if unit is None:
        scale, baseline = np.array([_scale(channel, path) for channel in channels]).T
        signal = raw * scale + baseline
    else:
        signal = raw * millivolts_per(unit, str(path))
    if (padding := group.get("WaveformPaddingValue")) and any(
        padding
    ):  # some writers declare 0, which is also a voltage
        signal[raw == np.frombuffer(padding[: raw.itemsize], dtype)[0]] = np.nan
    return signal.T


def _scale(channel: Dataset, path: Path | Content) -> tuple[float, float]:
    """mV per stored unit, and the baseline in mV."""
    where = f"{path}: '{_lead(channel, path)}'"
    if channel.get("ChannelSensitivity") is None or not channel.get("ChannelSensitivityUnitsSequence"):
        raise InputError(f"{where} has no sensitivity, so its voltage is unknown; pass --unit")
    factor = millivolts_per(channel.ChannelSensitivityUnitsSequence[0].CodeValue, where)
    gain = float(channel.ChannelSensitivity) * float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    return gain * factor, float(channel.get("ChannelBaseline") or 0) * factor


def _lead(channel: Dataset, path: Path | Content) -> str:
    """Find the lead by the code of the channel's source, else by its meaning or the channel's label."""
    names = [str(channel.get("ChannelLabel") or "")]
    for coded in channel.get("ChannelSourceSequence") or ():
        if (number := _CODE.fullmatch(str(coded.get("CodeValue")))) and number[1] in _NUMBERED:
            return _NUMBERED[number[1]]
        names = [re.sub(r"\([^()]*\)", "", str(coded.get("CodeMeaning") or "")), *names]  # 'Lead I (Einthoven)'
    names = [canonical_lead(name) for name in names if name.strip()]
    if not names:
        raise InputError(f"{path}: a channel does not name its lead")
    return next((name for name in names if name in LEADS), names[0])


def _statements(dataset: Dataset) -> frozenset[str]:
    annotations = dataset.get("WaveformAnnotationSequence") or ()
    texts = [str(annotation.get("UnformattedTextValue") or "").strip() for annotation in annotations]
    return frozenset(filter(None, texts))


def _age(dataset: Dataset) -> float | None:
    """Age in years as stored, or else from the dates of birth and recording."""
    if age := re.fullmatch(r"(\d{3})([YMWD])", str(dataset.get("PatientAge") or "")):
        return float(age[1]) * _YEARS[age[2]]
    dates: list[Any] = [dataset.get("PatientBirthDate"), dataset.get("AcquisitionDateTime") or dataset.get("StudyDate")]
    if not all(re.match(r"\d{8}", str(date or "")) for date in dates):
        return None
    born, recorded = (int(str(date)[:8]) for date in dates)
    return float((recorded - born) // 10_000) if born <= recorded else None
