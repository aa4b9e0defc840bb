from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.ecg.arrays import from_arrays, read_npz
from anyjepa.errors import DataWarning, InputError

LEADS = ("II", "V1", "V5")


def signals(records: int = 2, samples: int = 400) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, (records, 3, samples))


def test_a_stack_one_record_and_a_list_of_any_lengths() -> None:
    stack = signals()
    assert len(from_arrays(stack, fs=250, leads=LEADS, unit="mV")) == 2
    (one,) = from_arrays(stack[0], fs=250, leads=LEADS, unit="mV")
    np.testing.assert_array_equal(one.signal, stack[0].astype(np.float32))
    ragged = from_arrays([stack[0], stack[1, :, :99]], fs=250, leads=LEADS, unit="mV", patients=["p", "q"])
    assert [r.signal.shape[1] for r in ragged] == [400, 99]
    assert [r.group for r in ragged] == ["array/p", "array/q"]
    assert [r.id for r in ragged] == ["0", "1"]


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1), ("uV", 1e-3), ("µV", 1e-3), ("V", 1e3), (0.005, 0.005)])
def test_units(unit: str | float, factor: float) -> None:
    (recording,) = from_arrays(signals(1)[0] / factor, fs=250, leads=LEADS, unit=unit)
    np.testing.assert_allclose(recording.signal, signals(1)[0], rtol=1e-6)


def test_integers_are_numbers() -> None:
    (recording,) = from_arrays((signals(1)[0] * 1000).astype(np.int16), fs=250, leads=LEADS, unit="uV")
    np.testing.assert_allclose(recording.signal, signals(1)[0], atol=1e-3)


def test_a_wrong_unit_warns() -> None:
    with pytest.warns(DataWarning, match=r"1 record: amplitudes are a power of ten away .* about 1000 times too large"):
        from_arrays(signals(1)[0] * 1000, fs=250, leads=LEADS, unit="mV")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signals": signals().transpose(0, 2, 1)}, r"\(400, 3\) .* must be \(3, samples\); the samples come first"),
        ({"signals": signals()[0].T}, r"swap the last two axes"),
        ({"signals": signals()[:, :2]}, r"shape \(2, 400\) does not match the 3 leads; it must be \(3, samples\)$"),
        ({"signals": np.zeros(5)}, r"shape \(5,\) must be \(records, leads, samples\)"),
        ({"signals": [np.zeros((3, 9)), np.zeros((2, 9))]}, r"signals\[1\]: shape \(2, 9\)"),
        ({"signals": signals().astype(str)}, "are not numbers"),
        ({"signals": signals().astype(complex)}, "are not numbers"),
        ({"unit": "mmHg"}, "unit 'mmHg' is not a voltage"),
        ({"unit": -1}, "must be a positive number"),
        ({"unit": None}, "unit None must be a positive number of mV, or one of mV"),
        ({"fs": 0}, "sampling rate is 0 Hz"),
        ({"fs": [250]}, "sampling rate '\\[250\\]' is not a number in Hz"),
        ({"leads": "II"}, "leads are 'II'; they must be a list of names"),
        ({"ids": ["a"]}, "ids: 1 entries for 2 records; give one per record"),
        ({"patients": ["a"] * 3}, "patients: 3 entries for 2 records"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    given = {"signals": signals(), "fs": 250, "leads": LEADS, "unit": "mV"} | changes
    with pytest.raises(InputError, match=message):
        from_arrays(given.pop("signals"), **given)


def test_npz_with_all_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, signals=signals(), fs=250, leads=LEADS, unit="uV", ids=["x", "y"], patients=[7, 8])
    recordings = read_npz(path, source="s")
    np.testing.assert_allclose(recordings[1].signal, signals()[1] / 1000, rtol=1e-6)
    assert (recordings[0].id, recordings[0].group, recordings[0].fs, recordings[0].leads) == ("x", "s/7", 250, LEADS)
    assert recordings[0].where == f"{path}: record 'x'"


def test_npy_needs_to_be_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, signals())
    assert len(read_npz(path, fs=250, leads=LEADS, unit="mV")) == 2
    with pytest.raises(
        InputError, match=r"a\.npy: 'leads' is missing from the file; pass --leads \(in Python, leads=\)"
    ):
        read_npz(path, fs=250, unit="mV")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"signals": signals(), "lead": 3}, "unknown key 'lead'; did you mean 'leads'"),
        ({"fs": 250, "leads": LEADS, "unit": "mV"}, "key 'signals' is missing"),
        ({"signals": np.array([None, 1], object)}, "cannot be read as NumPy arrays"),
    ],
)
def test_a_wrong_npz_is_named(tmp_path: Path, content: dict, message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(InputError, match=rf"a\.npz: {message}"):
        read_npz(tmp_path / "a.npz", fs=250, leads=LEADS, unit="mV")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fs": [250, 250]}, r"sampling rate '\[250, 250\]' is not a number in Hz"),
        ({"fs": "fast"}, "sampling rate 'fast' is not a number in Hz"),
        ({"fs": 3j}, r"cannot be read as NumPy arrays \('fs' holds values of type complex128"),
        ({"leads": [1, 2, 3]}, r"leads are \[1, 2, 3\]; they must be a list of names such as \['I', 'II', 'V1'\]"),
        ({"leads": 3}, "leads are 3; they must be"),
        ({"leads": "abc"}, "leads are 'abc'; they must be"),
        ({"leads": [b"II", b"V1", b"\xff"]}, "leads are .* they must be"),
        ({"leads": ["II", "V1", " "]}, "leads are .* they must be"),
        ({"unit": ["mV", "mV"]}, r"unit \['mV', 'mV'\] must be a positive number of mV, or one of mV, uV, V, nV"),
        ({"unit": b"mV"}, "unit b'mV' must be"),
        ({"unit": True}, "unit True must be"),
        ({"unit": []}, r"unit \[\] must be"),
        ({"ids": [["a", "b"]]}, "ids: has 2 axes; it must be a list, one entry per record"),
        ({"ids": [1.5, np.nan]}, r"ids\[1\]: is missing; every record needs an id"),
        ({"ids": [True, False]}, r"ids\[0\]: is np.True_; it must be a text or a number"),
        ({"signals": np.zeros((0, 3, 9))}, "contains no record"),
        ({"\x1b[2J\n": 1}, r"unknown key '\\x1b\[2J\\n'"),
    ],
)
def test_a_wrong_type_in_an_npz_is_named(tmp_path: Path, content: dict, message: str) -> None:
    np.savez(tmp_path / "a.npz", **{"signals": signals(), "fs": 250, "leads": LEADS, "unit": "mV"} | content)
    with pytest.raises(InputError, match=rf"a\.npz: {message}"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"text"])
def test_a_file_that_is_no_array_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot be read as NumPy arrays"):
        read_npz(tmp_path / name, fs=250, leads=LEADS, unit="mV")
