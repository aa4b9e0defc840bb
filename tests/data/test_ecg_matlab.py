from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wfdb_writing import pack_matlab

from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError

DIGITAL = np.random.default_rng(0).integers(-2000, 2000, (3, 250))
LEVEL_4 = ["<i2", "<i4", "<f8", "<f4", ">i2", ">i4", ">f8", ">f4"]
NAMES = ("I", "II", "V1")


def write(
    folder: Path,
    content: bytes,
    offset: int = 24,
    samples: object = 250,
    gain: str = "1000(5)/mV",
    checksums: bool = True,
) -> Path:
    """Record 'r' of three leads in the .mat file `content`."""
    (folder / "r.mat").write_bytes(content)
    sums = [int(row.sum()) % 65536 if checksums else 0 for row in DIGITAL]
    lines = [
        f"r.mat 16+{offset} {gain} 16 0 {DIGITAL[i, 0] if checksums else 0} {sums[i]} 0 {name}"
        for i, name in enumerate(NAMES)
    ]
    (folder / "r.hea").write_text("\n".join([f"r 3 500 {samples}", *lines]))
    return folder / "r.hea"


def level_5(**more: object) -> bytes:
    out = io.BytesIO()
    compressed = bool(more.pop("do_compression", False))
    scipy.io.savemat(out, more, do_compression=compressed)
    return out.getvalue()


def assert_read(header: Path) -> None:
    recording = read_wfdb(header, "r", "s")
    assert recording.leads == NAMES
    np.testing.assert_allclose(recording.signal, (DIGITAL - 5) / 1000, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", LEVEL_4)
@pytest.mark.parametrize("name", ["val", "ecg", "a_long_name"])
def test_level_4_is_read_by_its_own_header(tmp_path: Path, kind: str, transposed: bool, name: str) -> None:
    values = DIGITAL.T if transposed else DIGITAL
    assert_read(write(tmp_path, pack_matlab(values, name, kind), offset=21 + len(name)))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "f8", "f4"])
@pytest.mark.parametrize("name", ["val", "ecg"])
def test_level_5_is_read(tmp_path: Path, kind: str, compressed: bool, transposed: bool, name: str) -> None:
    values = (DIGITAL.T if transposed else DIGITAL).astype(kind)
    assert_read(write(tmp_path, level_5(**{name: values, "fs": 500.0, "who": "x"}, do_compression=compressed)))


def test_the_length_may_be_left_to_the_matrix(tmp_path: Path) -> None:
    assert_read(write(tmp_path, pack_matlab(DIGITAL), samples=0))
    assert_read(write(tmp_path, pack_matlab(DIGITAL.T), samples=0))
    assert_read(write(tmp_path, level_5(val=DIGITAL), samples=0))


def test_val_is_the_signal_among_several_matrices_and_otherwise_the_one_that_fits(tmp_path: Path) -> None:
    other = pack_matlab(DIGITAL * 2, "x")
    assert_read(write(tmp_path, pack_matlab(DIGITAL, before=other), offset=len(other) + 24))
    assert_read(write(tmp_path, level_5(x=DIGITAL * 2, val=DIGITAL)))
    assert_read(write(tmp_path, level_5(small=DIGITAL[:, :9], signals=DIGITAL)))
    with pytest.raises(InputError, match=r"r\.mat: has several matrices of 3 signals x 250 .* 'a' \(3 x 250\), 'b'"):
        read_wfdb(write(tmp_path, level_5(a=DIGITAL, b=DIGITAL)), "r", "s")


def test_32768_marks_an_invalid_sample_in_every_type(tmp_path: Path) -> None:
    values = DIGITAL.copy()
    values[1, 7] = -32768
    for content in (pack_matlab(values), pack_matlab(values, kind="<f8"), level_5(val=values.astype(float))):
        signal = read_wfdb(write(tmp_path, content, checksums=False), "r", "s").signal
        assert np.argwhere(np.isnan(signal)).tolist() == [[1, 7]]


def test_fractions_are_not_adc_units_unless_the_gain_is_one(tmp_path: Path) -> None:
    for content in (pack_matlab(DIGITAL / 1000, kind="<f8"), level_5(val=DIGITAL / 1000)):
        with pytest.raises(InputError, match=r"r\.mat: has fractions, .* set the gain in r\.hea to '1\(0\)/mV'"):
            read_wfdb(write(tmp_path, content, checksums=False), "r", "s")
        signal = read_wfdb(write(tmp_path, content, checksums=False, gain="1(0)/mV"), "r", "s").signal
        np.testing.assert_allclose(signal, DIGITAL / 1000, rtol=1e-6)


def hdf5() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=512) as file:
        file["val"] = DIGITAL
    return b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + out.getvalue()[512:]


REFUSED = {
    "a shape of fewer leads": (pack_matlab(DIGITAL[:2]), "has no matrix of 3 signals x 250 samples, which r"),
    "a shape of fewer samples": (pack_matlab(DIGITAL[:, :249]), "it has 'val' (3 x 249)"),
    "a shape of fewer samples, level 5": (level_5(val=DIGITAL[:, :249]), "it has 'val' (3 x 249)"),
    "val of another shape beside a matrix that fits": (level_5(val=DIGITAL[:2], x=DIGITAL), "has no matrix of 3"),
    "another offset": (pack_matlab(DIGITAL, "ecg2"), "the samples of 'ecg2' begin at byte 25, but r.hea says 24"),
    "level 7.3": (hdf5(), "is a MATLAB 7.3 file, which is not read; save it with save(..., '-v7')"),
    "complex numbers": (level_5(val=DIGITAL * (1 + 1j)), "it has no matrix of real numbers"),
    "text": (level_5(val="signal"), "it has no matrix of real numbers"),
    "text, level 4": (pack_matlab(DIGITAL, layout=1, kind="<f8"), "it has no matrix of real numbers"),
    "raw samples": (DIGITAL.T.astype("<i2").tobytes(), "cannot be read as a MATLAB file"),
    "zeros for a header": (bytes(24) + DIGITAL.T.astype("<i2").tobytes(), "cannot be read as a MATLAB file"),
    "truncated": (pack_matlab(DIGITAL)[:-1], "'val' of shape (3, 250) needs 1524 bytes, but the file has 1523"),
    "truncated, level 5": (level_5(val=DIGITAL)[:900], "cannot be read as a MATLAB file"),
    "a number beyond the format": (level_5(val=DIGITAL + 65536 * (DIGITAL > 1990)), "which do not fit format 16"),
    "nothing": (b"", "it has no matrix of real numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_wfdb(write(tmp_path, content), "r", "s")
    assert str(caught.value).startswith(f"{tmp_path / 'r.mat'}: ")
    assert message in str(caught.value)


def test_level_5_is_known_by_its_content_too(tmp_path: Path) -> None:
    header = write(tmp_path, level_5(val=DIGITAL))
    (tmp_path / "r.mat").rename(tmp_path / "r.dat")
    header.write_text(header.read_text().replace("r.mat", "r.dat"))
    assert_read(header)


def test_a_compressed_variable_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYJEPA_LIMIT_MEMORY", "10MB")
    bomb = zlib.compress(bytes(20 * 2**20))
    content = level_5(val=DIGITAL)[:128] + struct.pack("<2I", 15, len(bomb)) + bomb
    with pytest.raises(InputError, match=r"r\.mat needs .* more than the limit of 10 MB"):
        read_wfdb(write(tmp_path, content), "r", "s")


@pytest.mark.parametrize("level", [4, 5])
@given(at=st.integers(0, 260), noise=st.binary(min_size=1, max_size=8))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_right_or_refused(tmp_path: Path, level: int, at: int, noise: bytes) -> None:
    content = pack_matlab(DIGITAL) if level == 4 else level_5(val=DIGITAL)
    with contextlib.suppress(InputError):
        assert_read(write(tmp_path, content[:at] + noise + content[at + len(noise) :]))
