"""NumPy's `.npz` and `.npy` files, checked by their headers before an array is read."""

from __future__ import annotations

import io
import math
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from anyjepa.data.files import Content, opened, regular_size
from anyjepa.errors import InputError, did_you_mean, reason
from anyjepa.limits import COLUMNS, check_size

LONGEST_HEADER = 10_000  # bytes, as NumPy's own limit
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that are read. Other methods allocate whatever size a header asks for."""


def read_arrays(
    path: Path | Content, keys: Sequence[str] | None = None, value_bytes: int = 1, row_bytes: int = 100
) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file by name; the array of an `.npy` file gets the first of `keys` as its name.

    keys: allowed names, any if None. value_bytes, row_bytes: final size of a value and of a row in memory, such as 8 if
    integers become float64. Raises InputError for files that cannot be read, for pickled objects, and for arrays that
    need more memory than the limits allow.
    """
    size, needed = regular_size(path), 0
    try:
        with warnings.catch_warnings(), _members(path, keys) as members:
            warnings.simplefilter("ignore")  # about headers written by Python 2
            COLUMNS.check(len(members), f"{path}")
            for member in members:
                if keys is not None and member.name not in keys:
                    raise InputError(f"{path}: unknown key '{member.name}'{did_you_mean(member.name, keys)}")
                with member.opened() as file:
                    shape, dtype = _header(file, member)
                values = math.prod(shape)
                needed += values * max(dtype.itemsize, value_bytes) + row_bytes * (shape[0] if shape else 1)
                check_size(needed, size, f"{path}: '{member.name}'")
            arrays = {}
            for member in members:
                with member.opened() as file:
                    arrays[member.name] = npy.read_array(file, allow_pickle=False)
                _check_texts(arrays[member.name], member.name)
            return arrays
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise InputError(f"{path}: cannot be read as NumPy arrays ({reason(error)})") from error


class _Member(NamedTuple):
    name: str
    size: int  # bytes of header and values
    opened: Callable[[], IO[bytes]]


@contextmanager
def _members(path: Path | Content, keys: Sequence[str] | None) -> Iterator[list[_Member]]:
    with opened(path) as file:
        if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            name = keys[0] if keys else Path(path.name).stem
            yield [_Member(name, regular_size(path), partial(opened, path))]
            return
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        listed = archive.infolist()
        names = [info.filename.removesuffix(".npy") for info in listed]
        if len(set(names)) < len(names):
            raise ValueError("two of its arrays have the same name")
        if odd := next((info.filename for info in listed if info.compress_type not in METHODS), None):
            raise ValueError(f"'{odd}' is compressed by a method other than deflate")
        yield [
            _Member(name, info.file_size, partial(archive.open, info)) for name, info in zip(names, listed, strict=True)
        ]


def _header(file: IO[bytes], member: _Member) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array. Raises ValueError unless its values fill the rest of the file."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"'{member.name}' is of version {version[0]}.{version[1]}")
    prefix = file.read(2 * version[0])
    length = int.from_bytes(prefix, "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"the header of '{member.name}' has {length} bytes")
    header = io.BytesIO(prefix + file.read(length))
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(header)
    if dtype.kind not in "biufSUO":  # pickled objects are refused when they are read
        raise ValueError(f"'{member.name}' holds values of type {dtype}, which are neither real numbers nor text")
    expected, rest = math.prod(shape) * dtype.itemsize, member.size - npy.MAGIC_LEN - len(prefix) - length
    if min(shape, default=0) < 0 or (expected != rest and not dtype.hasobject):
        raise ValueError(f"'{member.name}' of shape {shape} takes {expected} bytes, but the file has {rest}")
    return shape, dtype


def _check_texts(array: np.ndarray, name: str) -> None:
    """Raise ValueError for texts with invalid code points, for which NumPy raises SystemError when they are used."""
    if array.dtype.kind == "U" and array.size:
        codes = np.ascontiguousarray(array).reshape(-1).view(f"{array.dtype.byteorder}u4")
        if codes.max(initial=0) > sys.maxunicode:
            raise ValueError(f"'{name}' holds texts whose characters do not exist")
