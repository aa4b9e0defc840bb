"""What NumPy's files hold beyond shapes, which `test_limits` and the readers test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.array_files import read_arrays
from anyjepa.errors import InputError


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_of_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    texts = np.array([["a", "é"], ["", "\U0010ffff"]], f"{order}U2")
    np.savez(tmp_path / "a.npz", ids=texts)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz")["ids"], texts)


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_of_characters_that_do_not_exist_are_refused(tmp_path: Path, order: str) -> None:
    codes = np.array([ord("a"), 0x110000], f"{order}u4")
    np.savez(tmp_path / "a.npz", ids=codes.view(f"{order}U1"))
    with pytest.raises(InputError, match=r"a\.npz: .*'ids' holds texts whose characters do not exist"):
        read_arrays(tmp_path / "a.npz")


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    content = (tmp_path / "a.npy").read_bytes()
    assert b"(2, 3), }  " in content
    (tmp_path / "a.npy").write_bytes(content.replace(b"(2, 3), }  ", b"(2L, 3L), }"))
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy", ["x"])["x"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("dtype", [complex, "M8[s]", [("a", "f4")]])
def test_what_is_neither_a_real_number_nor_text_is_refused(tmp_path: Path, dtype: object) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3, dtype))
    with pytest.raises(InputError, match=r"a\.npz: .*'x' holds values of type .* neither real numbers nor text"):
        read_arrays(tmp_path / "a.npz")
