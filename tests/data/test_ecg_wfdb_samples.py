from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wfdb_writing import pack

from anyjepa.data.ecg.wfdb.header import read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.data.ecg.wfdb.samples import INVALID, read_samples
from anyjepa.errors import InputError

with warnings.catch_warnings(action="ignore"):  # wfdb 4.3 beside pandas 3
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
BITS = {"8": 7, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 10, "311": 10}
FLAC = {"508": "PCM_S8", "516": "PCM_16", "524": "PCM_24"}


def flac(form: str, frames: np.ndarray, per_frame: int, offset: int) -> bytes:
    """frames: (frames, signals * per_frame), as in other formats; FLAC has a channel for each signal."""
    channels = frames.reshape(len(frames), -1, per_frame).transpose(0, 2, 1).reshape(len(frames) * per_frame, -1)
    channels = np.concatenate([np.zeros((offset, channels.shape[1]), int), channels])
    out = io.BytesIO()
    shifted = (channels << (32 - int(FLAC[form][-2:].strip("S")))).astype("<i4")
    soundfile.write(out, shifted, 96, subtype=FLAC[form], format="FLAC")
    return out.getvalue()


def write(
    folder: Path,
    form: str,
    rows: list[np.ndarray],
    *,
    offset: int = 0,
    more: list[str] | None = None,
    stated: bool = True,
) -> Path:
    """Record 'r' of one file. rows: (frames, per_frame) of each signal in ADC units; more: the end of each format."""
    frames = np.concatenate(rows, axis=1)
    stored, initial = frames, [int(row[0, 0]) for row in rows]
    if form == "8":
        initial = [5] * len(rows)
        stored = np.concatenate([np.diff(row.reshape(-1), prepend=5).reshape(row.shape) for row in rows], axis=1)
    content = (
        flac(form, frames, rows[0].shape[1], offset) if form in FLAC else bytes(offset) + pack(form, stored.ravel())
    )
    (folder / "r.dat").write_bytes(content)
    lines = [
        f"r.dat {form}x{row.shape[1]}{end}+{offset} 100(3)/mV 12 0 {start} {int(row.sum()) % 65536} 0 ECG{i}"
        for i, (row, start, end) in enumerate(zip(rows, initial, more or [""] * len(rows), strict=True))
    ]
    (folder / "r.hea").write_text("\n".join([f"r {len(rows)} 500 {len(frames) if stated else 0}", *lines]))
    return folder / "r.hea"


def random_rows(form: str, seed: int, frames: int, widths: list[int]) -> list[np.ndarray]:
    """Samples over the whole range of a format, the smallest of which is 'invalid'."""
    rng = np.random.default_rng(seed)
    if form == "8":  # differences of one byte
        return [5 + np.cumsum(rng.integers(-128, 128, frames * width)).reshape(frames, width) for width in widths]
    bits = BITS.get(form) or int(FLAC[form][-2:].strip("S"))
    rows = [rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (frames, width)) for width in widths]
    rows[0][0] = -(2 ** (bits - 1))
    return rows


@pytest.mark.parametrize("form", [*BITS, *FLAC])
@given(
    seed=st.integers(0, 2**32),
    frames=st.integers(1, 40),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    offset=st.integers(0, 30),
)
@example(seed=0, frames=1018, widths=[1], offset=0)  # a last block that is not whole
@example(seed=0, frames=1019, widths=[1], offset=0)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_format_is_read_as_it_was_written(
    tmp_path: Path, form: str, seed: int, frames: int, widths: list[int], offset: int
) -> None:
    rows = random_rows(form, seed, frames, widths[:1] * len(widths) if form in FLAC else widths)
    path = write(tmp_path, form, rows, offset=offset)
    for row, samples in zip(rows, read_samples(path, read_header(path)), strict=True):
        np.testing.assert_array_equal(samples, row.reshape(-1))


@given(
    form=st.sampled_from([*BITS, *FLAC]),
    seed=st.integers(0, 2**32),
    frames=st.integers(5, 40),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    offset=st.integers(0, 30),
    skew=st.integers(0, 4),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_wfdb_package_reads_the_same(
    tmp_path: Path, form: str, seed: int, frames: int, widths: list[int], offset: int, skew: int
) -> None:
    """Except for skew in formats 8 and FLAC, in frames of several samples, and of two sizes: wfdb 4.3 fails there."""
    skew *= form not in FLAC and form != "8" and max(widths) == 1
    rows = random_rows(form, seed, frames, widths[:1] * len(widths) if form in FLAC else widths)
    path = write(tmp_path, form, rows, offset=offset, more=[*[""] * (len(rows) - 1), f":{skew}"])
    theirs: Any = wfdb.rdrecord(str(tmp_path / "r"), smooth_frames=False)
    lines = path.read_text().splitlines()
    for number, expected in enumerate(theirs.e_p_signal):  # one by one, as leads have one rate
        kept = [line if i in (0, number + 1) else line.replace("ECG", "RESP") for i, line in enumerate(lines)]
        path.write_text("\n".join(kept))
        recording = read_wfdb(path, "r", "s")
        assert recording.fs == 500 * rows[number].shape[1]
        np.testing.assert_allclose(recording.signal[0], expected, rtol=1e-6, atol=1e-7)


@given(skew=st.integers(0, 12), width=st.integers(1, 3))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_skew_moves_a_signal_to_the_others(tmp_path: Path, skew: int, width: int) -> None:
    rows = [np.arange(10 * width).reshape(10, width), 100 + np.arange(10 * width).reshape(10, width)]
    signal = read_wfdb(write(tmp_path, "16", rows, more=["", f":{skew}"]), "r", "s").signal
    np.testing.assert_allclose(signal[0], (rows[0].reshape(-1) - 3) / 100, rtol=1e-6)
    late = rows[1].reshape(-1)[skew * width :]
    expected = np.concatenate([(late - 3) / 100, np.full(10 * width - len(late), np.nan)])
    np.testing.assert_allclose(signal[1], expected, rtol=1e-6)


@pytest.mark.parametrize("form", [*BITS, *FLAC])
def test_the_length_may_be_left_to_the_file(tmp_path: Path, form: str) -> None:
    rows = random_rows(form, 1, 37, [2, 2])
    path = write(tmp_path, form, rows, stated=False)
    for row, samples in zip(rows, read_samples(path, read_header(path)), strict=True):
        np.testing.assert_array_equal(samples, row.reshape(-1))
    if form in FLAC:
        return
    (tmp_path / "r.dat").write_bytes((tmp_path / "r.dat").read_bytes()[:-2])
    with pytest.raises(InputError, match=r"r\.dat: \d+ bytes are not a whole number of samples of 2 signals in format"):
        read_samples(path, read_header(path))


@pytest.mark.parametrize("form", [*BITS, *FLAC])
def test_any_changed_bit_is_found(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, random_rows(form, 2, 50, [1, 1]))
    good = (tmp_path / "r.dat").read_bytes()
    expected = read_samples(path, read_header(path))
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        content = bytearray(good)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        (tmp_path / "r.dat").write_bytes(content)
        try:
            samples = read_samples(path, read_header(path))
        except InputError as error:
            found += "checksum" in str(error) or form in FLAC
        else:  # bits beyond the sum (32-bit formats) or of no meaning (in FLAC's header, or spare ones)
            assert form in ("24", "32", "310", "311", *FLAC)
            low = [(a - b) % 65536 for a, b in zip(samples, expected, strict=True)]
            assert not np.any(low)
    assert found > 30


def test_the_message_of_a_wrong_checksum(tmp_path: Path) -> None:
    rows = [np.arange(10)[:, None], np.arange(10, 20)[:, None]]
    path = write(tmp_path, "16", rows)
    frames = np.concatenate(rows, axis=1)
    frames[3, 1] -= 200
    (tmp_path / "r.dat").write_bytes(pack("16", frames.ravel()))
    with pytest.raises(InputError) as caught:
        read_wfdb(path, "r", "s")
    assert str(caught.value) == (
        f"{tmp_path / 'r.dat'}: 'ECG1' has checksum -55, but the header says 145; the file is damaged, or was changed "
        "after its header was written. If the change was intended, set the initial values and checksums in r.hea to 0"
    )


@pytest.mark.parametrize(
    ("initial", "checksum", "message"),
    [
        ([7, 8], [45, 145], None),  # real headers have such initial values: right checksums count
        ([7, 8], [0, 0], "'ECG0' begins with 0, but the header says 7"),
        ([0, 9], [0, 0], "'ECG1' begins with 10, but the header says 9"),
        ([0, 10], [0, 0], None),
        ([0, 0], [0, 0], None),  # placeholders
        ([0, 0], [65581, -65391], None),  # only 16 bits count
        ([0, 0], [0, 145], "'ECG0' has checksum 45, but the header says 0"),
        ([0, 0], [45, 0], "'ECG1' has checksum 145, but the header says 0"),
    ],
)
def test_what_counts_as_a_placeholder(
    tmp_path: Path, initial: list[int], checksum: list[int], message: str | None
) -> None:
    rows = [np.arange(10)[:, None], np.arange(10, 20)[:, None]]
    path = write(tmp_path, "16", rows)
    lines = [f"r.dat 16 100/mV 16 0 {initial[i]} {checksum[i]} 0 ECG{i}" for i in range(2)]
    path.write_text("\n".join(["r 2 500 10", *lines]))
    if message is None:
        np.testing.assert_allclose(read_wfdb(path, "r", "s").signal, np.concatenate(rows, axis=1).T / 100, rtol=1e-6)
        return
    with pytest.raises(InputError) as caught:
        read_wfdb(path, "r", "s")
    assert message in str(caught.value)


def test_a_header_without_checksums_is_not_verified(tmp_path: Path) -> None:
    path = write(tmp_path, "16", [np.arange(10)[:, None]])
    path.write_text("r 1 500 10\nr.dat 16 100/mV 16 0\n")
    np.testing.assert_allclose(read_wfdb(path, "r", "s").signal[0], np.arange(10) / 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["r.dat 16 1 16 0 0 0 0 I", "r.dat 212 1 16 0 0 0 0 II"], "the signals in 'r.dat' have different formats"),
        (["r.dat 16+2 1 16 0 0 0 0 I", "r.dat 16 1 16 0 0 0 0 II"], "the signals in 'r.dat' have different formats"),
        (["r.dat 16 1", "s.dat 16 1", "r.dat 16 1"], "the signals in 'r.dat' must be on consecutive lines"),
        (
            ["r.dat 0 1 16 0 0 0 0 I"],
            "format 0 of 'I' is not supported; supported are 8, 16, 24, 32, 61, 80, 160, 212, 310",
        ),
        (["r.dat 516 1 16 0 0 0 0 I"], "r.dat: cannot be read as FLAC"),
        (["f.dat 508 1 16 0 0 0 0 I"], "f.dat: is FLAC of type PCM_16, not FLAC of up to 8 bits"),
        (["f.dat 516 1", "f.dat 516 1"], "f.dat: has 1 channels, but r.hea describes 2"),
        (["f.dat 516+5 1"], "f.dat: has 35 samples, but r.hea describes 40"),
        (["f.dat 516x2 1"], "f.dat: has 20 samples, but r.hea describes 40"),
        (["f.dat 516 1", "f.dat 516x2 1"], "the signals in 'f.dat' differ in samples per frame, which FLAC forbids"),
        (["r.dat 16 1 0 0 0 0 0 I"] * 2, "2 leads of 40 samples in format 16 take 160 bytes, but the file has 80"),
        (
            ["r.dat 80 1 0 0 0 0 0 I"],
            "1 leads of 40 samples in format 80 take 40 bytes, but the file has 80; it has more",
        ),
    ],
)
def test_signal_files_that_contradict_the_header(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "r.dat").write_bytes(pack("16", np.arange(40)))
    (tmp_path / "s.dat").write_bytes(pack("16", np.arange(40)))
    (tmp_path / "f.dat").write_bytes(flac("516", np.arange(40)[:, None], 1, 0))
    (tmp_path / "r.hea").write_text("\n".join([f"r {len(lines)} 500 40", *lines]))
    with pytest.raises(InputError) as caught:
        read_samples(tmp_path / "r.hea", read_header(tmp_path / "r.hea"))
    assert message in str(caught.value)


def test_a_small_flac_file_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYJEPA_LIMIT_MEMORY", "1MB")
    (tmp_path / "r.dat").write_bytes(flac("516", np.zeros((10**6, 1), int), 1, 0))
    (tmp_path / "r.hea").write_text("r 1 500\nr.dat 516 1 16 0 0 0 0 II\n")
    with pytest.raises(InputError, match=r"r\.dat needs 16 MB, more than the limit of 1 MB"):
        read_wfdb(tmp_path / "r.hea", "r", "s")


@pytest.mark.parametrize("form", [form for form in INVALID if form not in FLAC])
def test_the_lowest_sample_is_invalid(tmp_path: Path, form: str) -> None:
    row = np.zeros((20, 1), int)
    row[[3, 5], 0] = INVALID[form], INVALID[form] + 1
    signal = read_wfdb(write(tmp_path, form, [row]), "r", "s").signal[0]
    assert np.flatnonzero(np.isnan(signal)).tolist() == [3]
    assert signal[5] == np.float32((INVALID[form] + 1 - 3) / 100)


@pytest.mark.realdata
def test_all_checksums_of_published_records_are_right(test_data: Path) -> None:
    signals = 0
    for name in ("ludb/data", "chapman", "cpsc2018"):
        for path in sorted((test_data / name).glob("*.hea"))[::10]:
            header = read_header(path)
            assert all(signal.checksum for signal in header.signals) or "ludb" not in name
            signals += len(read_samples(path, header))
    assert signals == 12 * (20 + 9 + 2)
