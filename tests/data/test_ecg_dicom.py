from __future__ import annotations

import contextlib
import copy
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ecgdatakit import FileParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from anyjepa.data.ecg.checks import check
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.vendors.dicom import read_dicom
from anyjepa.errors import InputError

REAL = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))  # an ECG of an electrocardiograph, 10 s
IMAGE = Path(str(get_testdata_file("CT_small.dcm", download=False)))
BYTES = REAL.read_bytes()


@pytest.fixture
def dataset() -> Any:
    """The real file, to be changed."""
    return pydicom.dcmread(REAL)


def read_changed(dataset: Any, folder: Path, **options: Any) -> Recording:
    dataset.save_as(folder / "changed.dcm")
    return read_dicom(folder / "changed.dcm", "changed", **options)


def test_a_real_file() -> None:
    (recording,) = read(REAL).recordings
    expected = pydicom.dcmread(REAL).waveform_array(0).T / 1000  # pydicom's own scaling, uV
    np.testing.assert_allclose(recording.signal, expected, atol=1e-6)
    assert (recording.id, recording.fs, recording.leads) == ("waveform_ecg", 1000, LEADS)
    assert (recording.patient, recording.age, recording.sex) == ("642341", 42, "F")
    assert recording.statements == {"RITMO SINUSALE", "ECG NORMALE"}
    assert check([recording]) == []  # Einthoven's and Goldberger's laws, amplitudes


def test_another_reader_agrees() -> None:
    record = FileParser.parse(REAL)
    recording = read_dicom(REAL, "r")
    assert [lead.label for lead in record.leads] == list(recording.leads)
    np.testing.assert_allclose(recording.signal, [lead.samples for lead in record.leads], atol=1e-6)


def split(dataset: Any) -> tuple[Any, Any]:
    """The rhythm as two original groups: limb leads, chest leads."""
    whole, median = dataset.WaveformSequence
    samples = np.frombuffer(whole.WaveformData, "<i2").reshape(-1, 12)
    parts = copy.deepcopy(whole), copy.deepcopy(whole)
    for part, which in zip(parts, (slice(0, 6), slice(6, 12)), strict=True):
        part.WaveformData = samples[:, which].tobytes()
        part.ChannelDefinitionSequence = list(whole.ChannelDefinitionSequence)[which]
        part.NumberOfWaveformChannels = 6
    dataset.WaveformSequence = [parts[0], median, parts[1]]
    return parts


def test_groups_of_the_same_time_are_joined(dataset: Any, tmp_path: Path) -> None:
    split(dataset)
    recording = read_changed(dataset, tmp_path)
    assert recording.leads == LEADS
    np.testing.assert_array_equal(recording.signal, read_dicom(REAL, "r").signal)


def test_groups_of_other_rates_are_refused(dataset: Any, tmp_path: Path) -> None:
    split(dataset)[1].SamplingFrequency = "500"
    message = "cannot be joined .*: 'RHYTHM' \\(10000 samples at 1000 Hz\\), 'RHYTHM' \\(10000 samples at 500 Hz\\)"
    with pytest.raises(InputError, match=message):
        read_changed(dataset, tmp_path)


def test_sensitivity_correction_baseline_and_padding(dataset: Any, tmp_path: Path) -> None:
    group = dataset.WaveformSequence[0]
    raw = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
    raw[:5, 0] = -32768
    group.WaveformData = raw.tobytes()
    group.add_new("WaveformPaddingValue", "OW", np.int16(-32768).tobytes())
    channel = group.ChannelDefinitionSequence[1]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "0.5", "3", "2"
    channel.ChannelSensitivityUnitsSequence[0].CodeValue = "mV"
    recording = read_changed(dataset, tmp_path)
    assert np.isnan(recording.signal).sum() == 5
    assert np.isnan(recording.signal[0, :5]).all()
    np.testing.assert_allclose(recording.signal[1], raw[:, 1] * 1.5 + 2)


def test_zero_as_padding_is_a_voltage(dataset: Any, tmp_path: Path) -> None:
    dataset.WaveformSequence[0].add_new("WaveformPaddingValue", "OW", b"\0\0")  # as one published converter writes
    assert np.isfinite(read_changed(dataset, tmp_path).signal).all()


def test_a_given_unit_replaces_the_sensitivity(dataset: Any, tmp_path: Path) -> None:
    raw = np.frombuffer(dataset.WaveformSequence[0].WaveformData, "<i2").reshape(-1, 12).T
    del dataset.WaveformSequence[0].ChannelDefinitionSequence[3].ChannelSensitivity
    with pytest.raises(InputError, match=r"changed\.dcm: 'aVR' has no sensitivity.* --unit"):
        read_changed(dataset, tmp_path)
    np.testing.assert_allclose(read_changed(dataset, tmp_path, unit="uV").signal, raw / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "label", "lead"),
    [
        (("2:64", "MDC", ""), "", "aVF"),
        (("MDC_ECG_LEAD_V3", "MDC", "Lead V3 (extended)"), "", "V3"),
        (("99", "VENDOR", "Ableitung"), "V6", "V6"),
        (("99", "VENDOR", "Lead V9"), "", "Lead V9"),
        (None, "II", "II"),
    ],
)
def test_names_of_leads(dataset: Any, tmp_path: Path, source: tuple[str, ...] | None, label: str, lead: str) -> None:
    group = dataset.WaveformSequence[0]
    group.ChannelDefinitionSequence = list(group.ChannelDefinitionSequence)[:1]
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 1, 500
    (channel,) = group.ChannelDefinitionSequence
    channel.ChannelLabel = label
    if source:
        coded = channel.ChannelSourceSequence[0]
        coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = source
    else:
        del channel.ChannelSourceSequence
    assert read_changed(dataset, tmp_path).leads == (lead,)


@pytest.mark.parametrize(
    ("said", "born", "age"),
    [("018M", "", 1.5), (None, "19710123", 42), (None, "19710126", 41), (None, "", None), ("?", "20200101", None)],
)
def test_age(dataset: Any, tmp_path: Path, said: str | None, born: str, age: float | None) -> None:
    del dataset.PatientAge
    if said:
        dataset.add(pydicom.DataElement("PatientAge", "AS", said, validation_mode=pydicom.config.IGNORE))
    dataset.PatientBirthDate = born
    assert read_changed(dataset, tmp_path).age == age


def no_waveform(dataset: Any) -> None:
    del dataset.WaveformSequence


def only_derived(dataset: Any) -> None:
    dataset.WaveformSequence = [dataset.WaveformSequence[1]]


def short(dataset: Any) -> None:
    dataset.WaveformSequence[0].WaveformData = dataset.WaveformSequence[0].WaveformData[:1000]


def mu_law(dataset: Any) -> None:
    group = dataset.WaveformSequence[0]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 8, "MB"


def pressure(dataset: Any) -> None:
    dataset.WaveformSequence[0].ChannelDefinitionSequence[0].ChannelSensitivityUnitsSequence[0].CodeValue = "mm[Hg]"


def nameless(dataset: Any) -> None:
    del dataset.WaveformSequence[0].ChannelDefinitionSequence[0].ChannelSourceSequence


def eleven(dataset: Any) -> None:
    dataset.WaveformSequence[0].NumberOfWaveformChannels = 11


def no_rate(dataset: Any) -> None:
    del dataset.WaveformSequence[0].SamplingFrequency


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_waveform, r"has no waveform \(12-lead ECG Waveform Storage\)"),
        (only_derived, r"has derived waveforms only: 'MEDIAN BEAT' \(1200 samples at 1000 Hz\)"),
        (short, "12 leads of 10000 samples take 240000 bytes, but the waveform has 1000; it is truncated"),
        (mu_law, "has samples of 8 bits, 'MB', which are not supported"),
        (pressure, r"'I': unit 'mm\[Hg\]' is not a voltage"),
        (nameless, "a channel does not name its lead"),
        (eleven, "declares 11 channels, but describes 12"),
        (no_rate, r"cannot be read as DICOM \(AttributeError: .*SamplingFrequency"),
    ],
)
def test_broken_files(spoil: Any, message: str, dataset: Any, tmp_path: Path) -> None:
    spoil(dataset)
    with pytest.raises(InputError, match=rf"changed\.dcm: {message}") as error:
        read_changed(dataset, tmp_path)
    assert "\n" not in str(error.value)


def test_deflated_files(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_changed(dataset, tmp_path).signal, read_dicom(REAL, "r").signal)
    monkeypatch.setenv("ANYJEPA_LIMIT_DOCUMENT", "200kB")
    with pytest.raises(InputError, match=r"changed.dcm: its inflated content needs more than the limit of 200 kB"):
        read_changed(dataset, tmp_path)
    with pytest.raises(InputError, match=r"waveform_ecg.dcm needs .* kB, more than the limit of 200 kB"):
        read_dicom(REAL, "r")


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("Dear reader,\n" * 100)
    with pytest.raises(InputError, match=r"text\.dcm: is not a DICOM file"):
        read_dicom(tmp_path / "text.dcm", "r")
    with pytest.raises(InputError, match=r"CT_small\.dcm: has no waveform \(CT Image Storage\)"):
        read_dicom(IMAGE, "r")
    with pytest.raises(InputError, match=r"none\.dcm: there is no such file"):
        read_dicom(tmp_path / "none.dcm", "r")
    (tmp_path / "cut.dcm").write_bytes(BYTES[:200_000])
    with pytest.raises(InputError, match=r"cut\.dcm: cannot be read as DICOM \(it is truncated"):
        read_dicom(tmp_path / "cut.dcm", "r")


def test_without_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=re.escape('pip install "anyjepa[ecg]"')):
        read_dicom(REAL, "r")


fuzz = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(length=st.integers(0, len(BYTES) - 1))
@fuzz
def test_a_truncated_file_is_refused_or_lost_nothing_of_the_signal(tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.dcm").write_bytes(BYTES[:length])
    with contextlib.suppress(InputError):
        np.testing.assert_array_equal(read_dicom(tmp_path / "cut.dcm", "r").signal, read_dicom(REAL, "r").signal)


@given(content=st.binary(max_size=400), preamble=st.booleans())
@fuzz
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, preamble: bool) -> None:
    (tmp_path / "random.dcm").write_bytes(bytes(128) + b"DICM" + content if preamble else content)
    with pytest.raises(InputError):
        read_dicom(tmp_path / "random.dcm", "r")


@given(at=st.integers(128, 6000), value=st.binary(min_size=1, max_size=4))
@fuzz
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a changed sensitivity can overflow
def test_changed_bytes_raise_nothing_else(tmp_path: Path, at: int, value: bytes) -> None:
    (tmp_path / "changed.dcm").write_bytes(BYTES[:at] + value + BYTES[at + len(value) :])
    with contextlib.suppress(InputError):
        read_dicom(tmp_path / "changed.dcm", "r")
