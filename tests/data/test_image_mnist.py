"""IDX files of any type, and MNIST's layout."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from anyjepa.data.images.reading import read_images
from anyjepa.data.images.sets.mnist import read_idx
from anyjepa.errors import InputError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@settings(deadline=None, max_examples=60)
@given(data=st.data(), kind=st.sampled_from(list(CODES)), zipped=st.booleans())
def test_what_is_written_is_read_and_what_is_cut_is_refused(data, kind, zipped, tmp_path_factory):
    array = data.draw(arrays(kind, array_shapes(max_dims=4, max_side=4)))
    path, content = tmp_path_factory.mktemp("idx") / "x", idx(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    for wrong in (content[: data.draw(st.integers(0, len(content) - 1))], content + b"x"):
        path.write_bytes(gzip.compress(wrong) if zipped else wrong)
        with pytest.raises(InputError):
            read_idx(path)


def test_a_truncated_gzip_and_giant_sizes(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx(np.arange(100, dtype=np.uint8)))[:-12])
    with pytest.raises(InputError, match="cannot be read as an IDX file"):
        read_idx(path)
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31))
    with pytest.raises(InputError, match=r"needs 9903520314283042 TB.*set ANYJEPA_LIMIT_EXPANSION="):
        read_idx(path)
    path.write_bytes(struct.pack(">HBB", 0, 8, 255) + b"\0\0\0\1" * 255 + b"a")
    with pytest.raises(InputError, match="is not an IDX file"):
        read_idx(path)


def test_mnist_layout(tmp_path):
    images = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    with pytest.raises(InputError, match="its labels are not next to it"):
        read_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([2, 0, 1, 1], np.uint8))))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(images[:1]))
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(np.array([2], np.uint8)))
    found = read_images(tmp_path)
    assert found.ids == ("train/00000", "train/00001", "train/00002", "train/00003", "test/00000")
    assert np.array_equal(found.images[:4, ..., 0], images)
    assert found.labels["class"].numbers.tolist() == [2, 0, 1, 1, 2]
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(np.array([2, 2], np.uint8)))
    with pytest.raises(InputError, match=r"contains uint8 of shape \(2,\) for 1 images"):
        read_images(tmp_path)


@pytest.mark.realdata
def test_mnist_itself(test_data):
    found = read_images(test_data / "mnist")
    assert found.images.shape == (10_000, 28, 28, 1)
    assert found.split == ("test",) * 10_000
    assert np.bincount(found.labels["class"].numbers)[:2].tolist() == [980, 1135]
