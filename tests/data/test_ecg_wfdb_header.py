from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.ecg.wfdb.header import Header, Segment, read_header, record_files
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError

DIGITAL = np.random.default_rng(0).integers(-500, 500, 600).astype("<i2")


def parse(folder: Path, text: str | bytes, name: str = "r.hea") -> Header:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_header(folder / name)


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse(folder, text)
    where, _, message = str(caught.value).partition(".hea: ")
    assert where == str(folder / "r")
    return message


NAMES = ["E00009.mat", "a.b-c_d", "Ä", "12", "a+b", "p(1)", "sub/a", "sub/12", "/abs/a", "s\u00e9rie#2", "~x"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rest", ["", " 05-May-2020 14:50:55", " 14:50:55.123 05/05/2020"])
def test_a_record_may_have_any_name_without_white_space(tmp_path: Path, name: str, rest: str) -> None:
    header = parse(tmp_path, f"{name} 1 500 600{rest}\nr.dat 16 200(3)/uV 12 1 2 3 0 II\n")
    (signal,) = header.signals
    assert (header.fs, header.samples, header.segments) == (500, 600, ())
    assert (signal.file, signal.gain, signal.baseline, signal.unit, signal.lead) == ("r.dat", 200, 3, "uV", "II")
    assert (signal.initial, signal.checksum) == (2, 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("space", [" ", "\t", "  \t "])
@pytest.mark.parametrize("before", ["", "# comment ... \u2028 \x85\n\n#\n", " \n"])
def test_white_space_blank_lines_and_comments_do_not_matter(tmp_path: Path, end: str, space: str, before: str) -> None:
    text = f"{before}r 2 500 600 \nr.dat 16 1000/mV 16 0 0 0 0 aVF\n\n# Age: 5\nr.dat 16 500 12 0 0 0 0 ECG lead 2 \n#x"
    for mark in ("", "\ufeff"):
        header = parse(tmp_path, (mark + text.replace(" ", space).replace("\n", end)).replace("\t\t", "\t"))
        assert [signal.gain for signal in header.signals] == [1000, 500]
        assert [" ".join(signal.lead.split()) for signal in header.signals] == ["aVF", "ECG lead 2"]
        assert [comment.split() for comment in header.comments][-2:] == [["Age:", "5"], ["x"]]


@pytest.mark.parametrize(
    ("encoding", "unit"),
    [
        ("utf-8", "\u00b5V"),
        ("utf-8", "\u03bcV"),
        ("utf-8-sig", "\u03bcV"),
        ("latin-1", "\u00b5V"),
        ("utf-16", "\u00b5V"),
    ],
)
def test_microvolts_are_read_in_any_encoding(tmp_path: Path, encoding: str, unit: str) -> None:
    text = f"r 1 500 600\nr.dat 16 2/{unit} 16 0 0 0 0 II\n# N\u00e4me: M\u00fcller\n"
    header = parse(tmp_path, text.encode(encoding))
    DIGITAL.tofile(tmp_path / "r.dat")
    np.testing.assert_allclose(read_wfdb(tmp_path / "r.hea", "r", "s").signal[0], DIGITAL / 2000, rtol=1e-6)
    assert header.comments == ("N\u00e4me: M\u00fcller",)


@pytest.mark.parametrize(
    ("line", "fs", "samples"),
    [
        ("r 1 250", 250, None),
        ("r 1 250 0", 250, None),
        ("r 1 62.4725/999.56 600", 62.4725, 600),
        ("r 1 125/250(10) 600", 125, 600),
        ("r 1 125/250(-10.5) 600 12:00", 125, 600),
        ("r 1 5e2 600", 500, 600),
        ("r 1 .5e+3 +600", 500, 600),
    ],
)
def test_rates_and_lengths(tmp_path: Path, line: str, fs: float, samples: int | None) -> None:
    header = parse(tmp_path, f"{line}\nr.dat 16 200\n")
    assert (header.fs, header.samples) == (fs, samples)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r 1 500 1e5", "number of samples '1e5' is not a whole number"),
        ("r 1 500 600.5", "number of samples '600.5' is not a whole number"),
        ("r 1 500 -600", "number of samples '-600' is not a whole number"),
        ("r 1 500 1_000", "number of samples '1_000' is not a whole number"),
        ("r 1 500 \u0661\u0662", "number of samples '\u0661\u0662' is not a whole number"),
        ("r 1 500 12:30:00", "number of samples '12:30:00' is not a whole number"),
        ("r 1", "gives no sampling rate; write it after the number of signals, 'r 1 RATE SAMPLES'"),
        ("r 1 1_000 600", "sampling rate '1_000' is not a number"),
        ("r 1 nan 600", "sampling rate 'nan' is not a number"),
        ("r 1 0x10 600", "sampling rate '0x10' is not a number"),
        ("r 1 250Hz 600", "sampling rate '250Hz' is not a number"),
        ("r 1 250/x 600", "sampling rate '250/x' is not a number"),
        ("r 1 -500 600", "the sampling rate is -500 Hz; an ECG has 25 to 50000 Hz"),
        ("r 1.0 500 600", "is not a WFDB header; the first line must be 'NAME SIGNALS RATE SAMPLES'"),
        ("r \u0661 500 600", "is not a WFDB header; the first line must be 'NAME SIGNALS RATE SAMPLES'"),
        ("rec 1 1 500 600", "name 'rec 1' has a space, which WFDB does not allow; rename the record's files"),
        ("my old r 1 500", "name 'my old r' has a space, which WFDB does not allow; rename the record's files"),
    ],
)  # fmt: skip
def test_a_record_line_is_never_read_as_another_number(tmp_path: Path, line: str, message: str) -> None:
    assert refused(tmp_path, f"{line}\nr.dat 16 200 12 0 0 0 0 II\n") == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r.dat 16 1e3x/mV", "cannot parse signal 1: 'r.dat 16 1e3x/mV'"),
        ("r.dat 16 200(1e3)/mV", "cannot parse signal 1: 'r.dat 16 200(1e3)/mV'"),
        ("r.dat 16 200(0)mV", "cannot parse signal 1: 'r.dat 16 200(0)mV'"),
        ("r.dat 16 1_000/mV", "cannot parse signal 1: 'r.dat 16 1_000/mV'"),
        ("r.dat 16x 200", "cannot parse signal 1: 'r.dat 16x 200'"),
        ("r.dat 16x0 200", "cannot parse signal 1: 'r.dat 16x0 200'"),
        ("r.dat 16+-4 200", "cannot parse signal 1: 'r.dat 16+-4 200'"),
        ("r.dat 1.6e1 200", "cannot parse signal 1: 'r.dat 1.6e1 200'"),
        ("r.dat", "cannot parse signal 1: 'r.dat'"),
        ("r.dat 16 200 II", "ADC resolution of 'signal 1' 'II' is not a whole number"),
        ("r.dat 16 200 12 1e3 0 0 0 II", "ADC zero of 'II' '1e3' is not a whole number"),
        ("r.dat 16 200 12 0 1.5 0 0 II", "initial value of 'II' '1.5' is not a whole number"),
        ("r.dat 16 200 12 0 0 0x1F 0 II", "checksum of 'II' '0x1F' is not a whole number"),
        ("r.dat 16 200 12 0 0 0 II", "block size of 'signal 1' 'II' is not a whole number"),
        ("r 1.dat 16 200 12 0 0 0 0 II",
         "name 'r 1.dat' has a space, which WFDB does not allow; rename the record's files"),
        ("../r.dat 16 200", "signal 1 is in '../r.dat', outside the folder of its header"),
        ("sub/../../r.dat 16 200", "signal 1 is in 'sub/../../r.dat', outside the folder of its header"),
        ("/etc/passwd 16 200", "signal 1 is in '/etc/passwd', outside the folder of its header"),
        ("..\\r.dat 16 200", "signal 1 is in '..\\r.dat', outside the folder of its header".replace("\\", "\\\\")),
        ("C:/r.dat 16 200", "signal 1 is in 'C:/r.dat', outside the folder of its header"),
    ],
)  # fmt: skip
def test_a_signal_line_is_never_read_as_another_number(tmp_path: Path, line: str, message: str) -> None:
    assert refused(tmp_path, f"r 1 500 600\n{line}\n").replace("\\\\", "\\") == message.replace("\\\\", "\\")


def test_missing_fields_have_the_defaults_of_the_specification(tmp_path: Path) -> None:
    (signal,) = parse(tmp_path, "r 1 500 600\nr.dat 16\n").signals
    assert (signal.per_frame, signal.skew, signal.offset, signal.unit) == (1, 0, 0, "mV")
    assert (signal.gain, signal.baseline) == (0, 0)  # uncalibrated; `read_wfdb` refuses it
    assert (signal.initial, signal.checksum) == (None, None)
    (signal,) = parse(tmp_path, "r 1 500 600\nr.dat 212x4:2+24 200/uV 11 1024 995 -22131 0 MLII\n").signals
    assert (signal.format, signal.per_frame, signal.skew, signal.offset) == ("212", 4, 2, 24)
    assert (signal.baseline, signal.initial, signal.checksum) == (1024, 995, -22131)  # the ADC zero is the baseline


@pytest.mark.parametrize(("where", "named"), [("", "sub/r.dat"), ("sub", "sub/r.dat"), ("sub", "sub\\r.dat")])
def test_a_name_with_a_folder_is_one_from_here_or_from_the_root_of_the_set(
    tmp_path: Path, where: str, named: str
) -> None:
    parse(tmp_path / where, f"sub/r 1 500 600\n{named} 16 1000/mV 16 0 0 0 0 II\n")
    (tmp_path / "sub").mkdir(exist_ok=True)
    DIGITAL.tofile(tmp_path / "sub" / "r.dat")
    header = tmp_path / where / "r.hea"
    np.testing.assert_allclose(read_wfdb(header, "r", "s").signal[0], DIGITAL / 1000, rtol=1e-6)
    assert record_files(header) == [header, tmp_path / "sub" / "r.dat"]


def test_a_folder_of_digits_is_a_name_and_not_a_number_of_segments(tmp_path: Path) -> None:
    assert parse(tmp_path, "00001/2 1 500 600\nr.dat 16 1000/mV\n").segments == ()
    assert parse(tmp_path, "00001/2 1 500 600\na.1 300\n~ 300\n").segments == (Segment("a.1", 300), Segment("~", 300))
