from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wfdb_writing import pack

from anyjepa.data.ecg.checks import check
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.wfdb.header import Segment, read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError

with warnings.catch_warnings(action="ignore"):  # wfdb 4.3 beside pandas 3
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
LEADS = ["i", "ii", "avr", "V1"]


def write(folder: Path, fmt: str = "16", samples: int = 600, units: str = "mV", **extra: object) -> np.ndarray:
    """A record 'r' of four leads written by the wfdb package; returns (L, T) in its own units, as stored."""
    digital = np.random.default_rng(0).integers(-100, 100, (samples, 4))
    packed = fmt in ("310", "311")  # wfdb reads these and does not write them
    wfdb.wrsamp(
        "r",
        fs=500,
        units=[units] * 4,
        sig_name=LEADS,
        d_signal=digital,
        fmt=["16" if packed else fmt] * 4,
        adc_gain=[100.0, 50, 100, 200],
        baseline=[0, 3, -5, 0],
        write_dir=str(folder),
        **extra,
    )
    if packed:
        (folder / "r.dat").write_bytes(pack(fmt, digital.ravel()))
        (folder / "r.hea").write_text((folder / "r.hea").read_text().replace("r.dat 16", f"r.dat {fmt}"))
    return ((digital - [0, 3, -5, 0]) / [100.0, 50, 100, 200]).T


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212", "310", "311"])
def test_every_format_is_read_back(tmp_path: Path, fmt: str) -> None:
    signal = write(tmp_path, fmt)
    recording = read_wfdb(tmp_path / "r.hea", "r", "s")
    np.testing.assert_allclose(recording.signal, signal, atol=1e-6)
    assert recording.leads == ("I", "II", "aVR", "V1")
    assert recording.fs == 500


@pytest.mark.parametrize(("units", "factor"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6)])
def test_units_of_the_header_become_mv(tmp_path: Path, units: str, factor: float) -> None:
    signal = write(tmp_path, units=units)
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s").signal, signal * factor, rtol=1e-6)


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_a_given_unit_replaces_gain_and_baseline(tmp_path: Path, fmt: str) -> None:
    signal = write(tmp_path, fmt)
    digital = signal * np.array([[100.0], [50], [100], [200]]) + np.array([[0], [3], [-5], [0]])
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s", "uV").signal, digital / 1000, atol=1e-6)


@pytest.mark.parametrize(("fmt", "invalid"), [("16", -(2**15)), ("212", -(2**11))])
def test_invalid_samples_become_nan(tmp_path: Path, fmt: str, invalid: int) -> None:
    digital = np.zeros((50, 1), int)
    digital[7] = invalid
    wfdb.wrsamp(
        "r", 500, ["mV"], ["I"], d_signal=digital, fmt=[fmt], adc_gain=[100.0], baseline=[0], write_dir=str(tmp_path)
    )
    assert np.flatnonzero(np.isnan(read_wfdb(tmp_path / "r.hea", "r", "s").signal[0])).tolist() == [7]


def test_signals_in_several_files_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    header = (tmp_path / "r.hea").read_text().splitlines()
    first = (tmp_path / "r.dat").read_bytes()
    interleaved = np.frombuffer(first, "<i2").reshape(-1, 4)
    (tmp_path / "a.dat").write_bytes(interleaved[:, :2].tobytes())
    (tmp_path / "b.dat").write_bytes(interleaved[:, 2:].tobytes())
    lines = [line.replace("r.dat", name) for line, name in zip(header[1:], ["a.dat"] * 2 + ["b.dat"] * 2, strict=True)]
    expected = read_wfdb(tmp_path / "r.hea", "r", "s").signal
    (tmp_path / "r.hea").write_text("\n".join([header[0], *lines]))
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s").signal, expected, atol=1e-6)


@pytest.mark.parametrize("date", ["12-May-2020 12:33:59", "2020/05/12", "99:99:99 99/99/9999", "00:00:00 31/02/2020"])
def test_an_odd_date_does_not_matter(tmp_path: Path, date: str) -> None:
    signal = write(tmp_path)
    text = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_text(text.replace("r 4 500 600", f"r 4 500 600 {date}"))
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s").signal, signal, atol=1e-6)


def test_the_length_may_be_left_to_the_signal_file(tmp_path: Path) -> None:
    signal = write(tmp_path)
    text = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_text(text.replace("r 4 500 600", "r 4 500"))
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s").signal, signal, atol=1e-6)


@pytest.mark.parametrize(
    ("comments", "age", "sex", "statements"),
    [
        (["Age: 47", "Sex: Male", "Dx: 426783006,59118001"], 47, "M", {"426783006", "59118001"}),
        (["Age: NaN", "Sex: Unknown", "Dx: "], None, None, set()),
        (["69 M 1085 1629 x1", "Aldomet"], 69, "M", set()),
        (["<age>: >89", "<sex>: F", "<diagnoses>:", "Rhythm: Sinus rhythm.", "I degree AV block. "], None, "F",
         {"Rhythm: Sinus rhythm", "I degree AV block"}),
    ],
)  # fmt: skip
def test_age_sex_and_statements_are_in_the_comments(
    tmp_path: Path, comments: list[str], age: float | None, sex: str | None, statements: set[str]
) -> None:
    write(tmp_path, comments=comments)
    recording = read_wfdb(tmp_path / "r.hea", "r", "s")
    assert (recording.age, recording.sex, recording.statements) == (age, sex, statements)


BROKEN = {
    "text": ("Dear reader, this is no header", "is not a WFDB header"),
    "zero bytes": ("r\0b 4 500 600", "is not a WFDB header"),
    "many digits": (f"r 4 500 {'9' * 5000}", "number of samples '999"),
    "nothing": ("", "is not a WFDB header"),
    "comments": ("# only a comment", "is not a WFDB header"),
    "rate zero": ("r 4 0 600", "sampling rate is 0 Hz"),
    "rate negative": ("r 4 -500 600", "sampling rate is -500 Hz"),
    "rate absurd": ("r 4 5e9 600", "sampling rate is 5e"),
    "rate no number": ("r 4 fast 600", "sampling rate 'fast' is not a number"),
    "twelve named": ("r 12 500 600", "declares 12 signals, but describes 4"),
    "too long": (
        "r 4 500 700",
        "r.dat: 4 leads of 700 samples in format 16 take 5600 bytes, but the file has 4800; it is",
    ),
    "too short": ("r 4 500 100", "has more leads or samples than r.hea says"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_line_is_named(tmp_path: Path, name: str) -> None:
    line, message = BROKEN[name]
    write(tmp_path)
    rest = (tmp_path / "r.hea").read_text().splitlines()[1:] if line[:1] == "r" else []
    (tmp_path / "r.hea").write_text("\n".join([line, *rest]))
    with pytest.raises(InputError) as caught:
        read_wfdb(tmp_path / "r.hea", "r", "s")
    assert message in str(caught.value)
    assert str(tmp_path / "r.") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r.dat 16 0(0)/mV 16 0 0 0 0 I", "'I' has no gain"),
        ("r.dat 16", "'signal 1' has no gain"),
        ("r.dat 16 1e-320/mV 16 0 0 0 0 I", "'I' has a gain of 9.99989e-321, too small for any voltage"),
        ("r.dat 16 100/mmHg 16 0 0 0 0 ABP", "has no ECG lead; its signals are 'ABP' in mmHg"),
        ("r.dat 16 100/mmHg 16 0 0 0 0 V2", "'V2': unit 'mmHg' is not a voltage"),
        ("none.dat 16 100/mV 16 0 0 0 0 I", "its signal file cannot be read: "),
        ("r.dat sixteen", "cannot parse signal 1"),
        ("r.dat 17 100/mV 16 0 0 0 0 I", "format 17 of 'I' is not supported; supported are 8, 16, "),
        ("r.dat 16 1e999/mV 16 0 0 0 0 I", "gain of 'I' '1e999' is not a number"),
    ],
)
def test_a_broken_signal_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path)
    (tmp_path / "r.hea").write_text(f"r 1 500 2400\n{line}\n")
    with pytest.raises(InputError, match=r"r\.hea") as caught:
        read_wfdb(tmp_path / "r.hea", "r", "s")
    assert message in str(caught.value)


@pytest.mark.parametrize("fmt", ["16", "80", "212", "310"])
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_signal_file_is_named(tmp_path: Path, fmt: str, keep: int) -> None:
    write(tmp_path, fmt)
    data = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(data[:keep])
    with pytest.raises(InputError, match=r"r\.dat.*truncated"):
        read_wfdb(tmp_path / "r.hea", "r", "s")


def test_eight_leads_in_the_file_of_twelve_are_named(tmp_path: Path) -> None:
    np.zeros((5000, 8), "<i2").tofile(tmp_path / "r.dat")
    lines = [f"r.dat 16 1000/mV 16 0 0 0 0 V{i}" for i in range(12)]
    (tmp_path / "r.hea").write_text("\n".join(["r 12 500 5000", *lines]))
    with pytest.raises(
        InputError, match=r"12 leads of 5000 samples .* take 120000 bytes, but the file has 80000; .* fewer"
    ):
        read_wfdb(tmp_path / "r.hea", "r", "s")


@given(
    cut=st.integers(0, 400),
    at=st.integers(0, 300),
    noise=st.one_of(
        st.binary(max_size=12), st.sampled_from([b"", b"0", b"99", b"x", b"/", b"+", b"\n", b"\x00", b"-", b"("])
    ),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("fmt", ["16", "212"])
def test_a_damaged_header_gives_a_recording_or_an_input_error(
    tmp_path: Path, fmt: str, cut: int, at: int, noise: bytes
) -> None:
    if not (tmp_path / "original").exists():
        write(tmp_path, fmt, samples=60)
        (tmp_path / "r.hea").rename(tmp_path / "original")
    text = (tmp_path / "original").read_bytes()
    (tmp_path / "r.hea").write_bytes((text[:at] + noise + text[at + len(noise) // 2 :])[: max(cut, at + 10)])
    with contextlib.suppress(InputError):
        assert isinstance(read_wfdb(tmp_path / "r.hea", "r", "s"), Recording)


@given(content=st.binary(max_size=200))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_recording_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.hea").write_bytes(content)
    with pytest.raises(InputError, match=r"r\.hea"):
        read_wfdb(tmp_path / "r.hea", "r", "s")


def test_a_multi_segment_record_is_read_whole(tmp_path: Path) -> None:
    signal = write(tmp_path)
    (tmp_path / "m.hea").write_text("m/2 4 500 1200\nr 600\nr 600\n")
    assert read_header(tmp_path / "m.hea").segments == (Segment("r", 600),) * 2
    recording = read_wfdb(tmp_path / "m.hea", "m", "s")
    np.testing.assert_allclose(recording.signal, np.concatenate([signal, signal], axis=1), atol=1e-6)


@pytest.mark.parametrize("segment", ["../other/r 600", "sub/r 600", "/etc/passwd 600", ".. 600", ". 600", "r", "r x"])
def test_a_segment_that_is_no_record_beside_the_header_is_refused(tmp_path: Path, segment: str) -> None:
    write(tmp_path)
    (tmp_path / "m.hea").write_text(f"m/2 4 500 1200\nr 600\n{segment}\n")
    with pytest.raises(InputError, match=r"m\.hea: cannot parse segment 2: .* must be 'NAME SAMPLES'"):
        read_header(tmp_path / "m.hea")


def test_a_record_that_is_made_of_itself_is_refused_at_once(tmp_path: Path) -> None:
    for name, segment in (("self", "self"), ("m", "n"), ("n", "m")):
        (tmp_path / f"{name}.hea").write_text(f"{name}/1 4 500 600\n{segment} 600\n")
    for name, segment in (("self", "self"), ("m", "n")):
        with pytest.raises(InputError, match=rf"{name}\.hea: segment '{segment}' has segments of its own"):
            read_wfdb(tmp_path / f"{name}.hea", name, "s")


def test_what_is_wrong_with_a_segment_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "m.hea").write_text("m/1 4 500 600\nr 600\n")
    data = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(data[:100])
    with pytest.raises(InputError, match=r"r\.dat: .* the file has 100; it is truncated"):
        read_wfdb(tmp_path / "m.hea", "m", "s")
    (tmp_path / "r.hea").unlink()
    with pytest.raises(InputError, match=r"m\.hea: its segment 'r' cannot be read: .*r\.hea: there is no such file"):
        read_wfdb(tmp_path / "m.hea", "m", "s")


def test_a_gap_between_segments_is_invalid(tmp_path: Path) -> None:
    write(tmp_path)
    lines = [f"~ 0 100/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (tmp_path / "m_layout.hea").write_text("\n".join(["m_layout 4 500 0", *lines]))
    (tmp_path / "m.hea").write_text("m/4 4 500 1300\nm_layout 0\nr 600\n~ 100\nr 600\n")
    invalid = np.isnan(read_wfdb(tmp_path / "m.hea", "m", "s").signal[0])
    assert np.flatnonzero(invalid).tolist() == list(range(600, 700))


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_a_signal_file_that_is_no_regular_file_is_refused(tmp_path: Path, fmt: str) -> None:
    write(tmp_path, fmt)
    (tmp_path / "r.dat").unlink()
    os.mkfifo(tmp_path / "r.dat")
    with pytest.raises(InputError, match=r"r\.hea: its signal file cannot be read: .*r\.dat: is a FIFO; only regular"):
        read_wfdb(tmp_path / "r.hea", "r", "s")


def test_an_offset_beyond_the_file_is_an_empty_record(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "r.hea").write_text("r 1 500\nr.dat 16+9999 100/mV 16 0 0 0 0 I\n")
    with pytest.raises(InputError, match="the record is empty"):
        read_wfdb(tmp_path / "r.hea", "r", "s")


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ludb/data/1", "ludb/data/200", "chapman/JS37196", "cpsc2018/A0001", "mitdb/100"])
def test_real_records_equal_what_wfdb_reads(test_data: Path, name: str) -> None:
    theirs = wfdb.rdrecord(str(test_data / name))
    ours = read_wfdb(test_data / f"{name}.hea", name, "s")
    np.testing.assert_allclose(ours.signal, theirs.p_signal.T, atol=1e-5)
    assert ours.fs == theirs.fs


@pytest.mark.realdata
def test_ludb_obeys_einthoven_in_adc_units_but_not_by_its_gains(test_data: Path) -> None:
    path = test_data / "ludb" / "data" / "1.hea"
    for unit in (None, "uV"):
        i, ii, iii = read_wfdb(path, "1", "ludb", unit).signal[:3]
        assert (np.abs(iii - (ii - i)).max() < 0.002) == (unit == "uV")


def write_lines(folder: Path, name: str, first: str, lines: list[str], frames: np.ndarray) -> Path:
    """Record `name` in format 16. frames: (frames, samples of all signals)."""
    frames.astype("<i2").tofile(folder / f"{name}.dat")
    (folder / f"{name}.hea").write_text("\n".join([f"{name} {len(lines)} {first}", *lines]))
    return folder / f"{name}.hea"


def test_a_lead_of_several_samples_per_frame_has_its_own_rate(tmp_path: Path) -> None:
    ecg = np.rint(1000 * np.sin(2 * np.pi * 60 * np.arange(5000) / 500))  # 60 Hz, which 125 Hz could not hold
    slow = np.arange(1250) % 200
    frames = np.hstack([slow[:, None], ecg.reshape(1250, 4), -ecg.reshape(1250, 4)])
    lines = ["r.dat 16 100/mV 16 0 0 0 0 RESP", "r.dat 16x4 1000/mV 16 0 0 0 0 II", "r.dat 16x4 500(7)/mV 16 0 0 0 0 V"]
    recording = read_wfdb(write_lines(tmp_path, "r", "125/1000(10) 1250", lines, frames), "r", "s")
    assert (recording.fs, recording.leads, recording.other_channels) == (500, ("II", "V"), ("RESP",))
    np.testing.assert_allclose(recording.signal, [ecg / 1000, (-ecg - 7) / 500], rtol=1e-6, atol=1e-6)


def test_frames_may_be_slower_than_any_ecg(tmp_path: Path) -> None:
    recording = read_wfdb(write_lines(tmp_path, "r", "1 3", ["r.dat 16x200 1000"], np.ones((3, 200))), "r", "s")
    assert (recording.fs, recording.signal.shape) == (200, (1, 600))


def test_leads_of_two_rates_are_refused(tmp_path: Path) -> None:
    lines = ["r.dat 16x2 1000/mV 16 0 0 0 0 II", "r.dat 16 1000/mV 16 0 0 0 0 V1"]
    with pytest.raises(
        InputError, match=r"different sampling rates \('II' 500 Hz, 'V1' 250 Hz\), which is not supported"
    ):
        read_wfdb(write_lines(tmp_path, "r", "250 10", lines, np.zeros((10, 3))), "r", "s")


OTHERS = [
    ("RESP", "mV"), ("Resp. Imp.", "mV"), ("PLETH", "mV"), ("PLETH", "NU"), ("ABP", "mmHg"), ("ART", "mV"),
    ("SpO2", "%"), ("EEG Fpz-Cz", "uV"), ("EOG horizontal", "uV"), ("EMG", "mV"), ("foot GSR", "mV"), ("CO2", "mV"),
    ("PAP", "mV"), ("CVP", "mV"), ("marker", "mV"), ("Thor Res", "mV"), ("HR", "bpm"), ("x", "degrees"),
]  # fmt: skip
ECGS = ["II", "MLII", "MLIII", "MCL1", "V", "V7", "V4R", "ECG", "ECG 1", "ECG resp", "vx", "-aVR", "CM5", "D3", "FECG"]


@pytest.mark.parametrize(("name", "unit"), OTHERS)
def test_a_channel_that_is_not_a_lead_is_left_out_and_named(tmp_path: Path, name: str, unit: str) -> None:
    lines = [f"r.dat 16 10/{unit} 16 0 0 0 0 {name}", "r.dat 16 1000/mV 16 0 0 0 0 MCL1"]
    path = write_lines(tmp_path, "r", "250 10", lines, np.arange(20).reshape(10, 2))
    recording = read_wfdb(path, "r", "s")
    assert (recording.leads, recording.other_channels) == (("MCL1",), (name,))
    np.testing.assert_allclose(recording.signal[0], np.arange(1, 20, 2) / 1000, rtol=1e-6)
    (problem,) = [problem for problem in check([recording]) if problem.kind == "other channels"]
    assert str(problem) == f"1 record: channels are not ECG leads and were skipped ({path}: {name})"


@pytest.mark.parametrize("name", ECGS)
def test_what_is_a_lead(tmp_path: Path, name: str) -> None:
    lines = [f"r.dat 16 1000/mV 16 0 0 0 0 {name}", "r.dat 16 1000/mmHg 16 0 0 0 0 ABP"]
    recording = read_wfdb(write_lines(tmp_path, "r", "250 10", lines, np.zeros((10, 2))), "r", "s")
    assert (len(recording.leads), recording.other_channels) == (1, ("ABP",))


def test_a_record_without_a_lead_is_refused(tmp_path: Path) -> None:
    lines = ["r.dat 16 10/NU 16 0 0 0 0 PLETH", "r.dat 16 10 16 0 0 0 0 RESP"]
    with pytest.raises(InputError, match=r"r\.hea: has no ECG lead; its signals are 'PLETH' in NU, 'RESP' in mV"):
        read_wfdb(write_lines(tmp_path, "r", "250 10", lines, np.zeros((10, 2))), "r", "s")


@pytest.mark.parametrize("gain", ["0", "0/mV", "0(5)/mV", ""])
def test_an_uncalibrated_lead_needs_a_unit(tmp_path: Path, gain: str) -> None:
    path = write_lines(tmp_path, "r", "250 10", [f"r.dat 16 {gain}"], np.arange(10))
    with pytest.raises(
        InputError, match=r"'signal 1' has no gain, .* such as '200/mV', or set unit to the size of one ADC unit"
    ):
        read_wfdb(path, "r", "s")
    np.testing.assert_allclose(read_wfdb(path, "r", "s", 0.005).signal[0], np.arange(10) / 200, rtol=1e-6)


def test_segments_may_differ_in_leads_and_gains(tmp_path: Path) -> None:
    a = ["a.dat 16x2 100/mV 16 0 0 0 0 II", "a.dat 16 1/NU 16 0 0 0 0 PLETH"]
    b = ["b.dat 16x2 50(4)/mV 16 0 0 0 0 V", "b.dat 16x2 200/mV 16 0 0 0 0 II"]
    write_lines(tmp_path, "a", "125 3", a, np.arange(9).reshape(3, 3))
    write_lines(tmp_path, "b", "125 2", b, np.arange(8).reshape(2, 4))
    write_lines(tmp_path, "c", "125 1", ["c.dat 16 1/NU 16 0 0 0 0 PLETH"], np.zeros(1))
    (tmp_path / "m.hea").write_text("m/5 3 125 8\na 3\n~ 1\nc 1\nb 2\n~ 1\n")
    recording = read_wfdb(tmp_path / "m.hea", "m", "s")
    assert (recording.fs, recording.leads, recording.other_channels) == (250, ("II", "V"), ("PLETH",))
    gap = [np.nan] * 2
    ii = [*np.array([0, 1, 3, 4, 6, 7]) / 100, *gap, *gap, *np.array([2, 3, 6, 7]) / 200, *gap]
    v = [*[np.nan] * 10, *(np.array([0, 1, 4, 5]) - 4) / 50, *gap]
    np.testing.assert_allclose(recording.signal, [ii, v], rtol=1e-6)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ("m/2 1 250 21\na 10\na 10", "declares 21 samples, but its segments have 20"),
        ("m/2 1 250 22\na 10\na 12", "segment 'a' has 10 samples instead of 12"),
        ("m/2 1 250 22\na 10\nu 12", "segment 'u' has 10 samples of 'II' instead of 12"),
        ("m/1 1 250 12\na 12", "segment 'a' has 10 samples instead of 12"),
        ("m/1 1 500 10\na 10", "segment 'a' has 250 frames per second, but the record 500"),
        ("m/1 1 250 10\n~ 10", "no segment has an ECG lead"),
        ("m/2 1 250\na 10\n~ 999999999999", "more than the limit of"),
    ],
)
def test_segments_that_contradict_the_record(tmp_path: Path, whole: str, message: str) -> None:
    write_lines(tmp_path, "a", "250 10", ["a.dat 16 100/mV 16 0 0 0 0 II"], np.arange(10))
    (tmp_path / "u.hea").write_text("u 1 250\na.dat 16 100/mV 16 0 0 0 0 II")  # without a length
    (tmp_path / "m.hea").write_text(whole)
    with pytest.raises(InputError, match=r"m\.hea") as caught:
        read_wfdb(tmp_path / "m.hea", "m", "s")
    assert message in str(caught.value)


def test_signals_of_one_name_are_numbered_but_a_lead_must_not_repeat(tmp_path: Path) -> None:
    frames = np.arange(1200, dtype="<i2").reshape(600, 2) % 300
    lines = ["a.dat 16 1000/mV 16 0 0 0 0 ECG"] * 2
    recording = read_wfdb(write_lines(tmp_path, "a", "128 600", lines, frames), "a", "set")
    assert recording.leads == ("ECG 1", "ECG 2")
    np.testing.assert_allclose(recording.signal, frames.T / 1000, atol=1e-6)
    lines = ["a.dat 16 1000/mV 16 0 0 0 0 II"] * 2
    with pytest.raises(InputError, match="lead 'II' occurs more than once"):
        read_wfdb(write_lines(tmp_path, "a", "128 600", lines, frames), "a", "set")


def test_names_of_bidmc_end_in_a_comma(tmp_path: Path) -> None:
    frames = np.arange(1800, dtype="<i2").reshape(600, 3) % 300
    lines = [f"a.dat 16 1000/{unit} 16 0 0 0 0 {name}" for name, unit in (("RESP,", "pm"), ("II,", "mV"), ("V,", "mV"))]
    recording = read_wfdb(write_lines(tmp_path, "a", "125 600", lines, frames), "a", "set")
    assert (recording.leads, recording.other_channels) == (("II", "V"), ("RESP,",))
    np.testing.assert_allclose(recording.signal, frames.T[1:] / 1000, atol=1e-6)
