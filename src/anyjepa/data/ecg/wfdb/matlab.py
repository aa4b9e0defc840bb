"""Read the matrix of a record from MATLAB files of level 4 (PhysioNet Challenges) or 5 (MATLAB and scipy).

Both are parsed here: scipy.io.loadmat 1.17 can crash the process on a damaged file, and a small compressed variable can
fill the memory.
Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyjepa.data.files import read_bytes
from anyjepa.errors import InputError
from anyjepa.limits import check_size

LEVEL_5 = b"MATLAB "
"""What a file of level 5 begins with."""

_LEVEL_4 = ("f8", "f4", "i4", "i2", "u2", "u1")  # element types by the tens of the type word
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15  # types of elements in level 5
_NUMERIC = range(6, 16)  # classes of arrays in level 5: double, single and integers
_COMPLEX = 0x800


class _Matrix(NamedTuple):
    name: str
    values: np.ndarray
    offset: int | None  # byte of its first sample in the file; unknown for level 5


def read_matlab(file: Path, rows: int, columns: int | None, offset: int, header: str) -> np.ndarray:
    """Read the matrix of a WFDB record as (columns, rows); it is stored as (rows, columns) or transposed.

    It is the variable 'val', or else the only matrix of that shape; columns may be None for any number. In a level 4
    file, the samples must begin at `offset`. Raises InputError.
    """
    content = read_bytes(file, limit=None)
    if content.startswith(b"MATLAB 7.3"):
        raise InputError(f"{file}: is a MATLAB 7.3 file, which is not read; save it with save(..., '-v7')")
    try:
        matrices = list((_read_level_5 if content.startswith(LEVEL_5) else _read_level_4)(content, f"{file}"))
    except (ValueError, struct.error, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: cannot be read as a MATLAB file ({error})") from error
    matrix = _choose(file, matrices, rows, columns, header)
    if matrix.offset not in (None, offset):
        where = f"the samples of '{matrix.name}' begin at byte {matrix.offset}, but {header} says {offset}"
        raise InputError(f"{file}: {where}; write '16+{matrix.offset}'")
    return matrix.values.T if _fits(matrix.values.shape, rows, columns) else matrix.values


def _read_level_4(content: bytes, _where: str) -> Iterator[_Matrix]:
    at = 0
    while at < len(content):
        order = "<" if struct.unpack_from("<i", content, at)[0] in range(5000) else ">"
        kind, height, width, imaginary, length = struct.unpack_from(f"{order}5i", content, at)
        machine, zero, element, layout = (kind // 10**place % 10 for place in (3, 2, 1, 0))
        valid = machine == "<>".index(order) and zero == 0 and element < len(_LEVEL_4) and layout in (0, 1, 2)
        if not 0 <= kind < 5000 or not valid or min(height, width) < 0 or imaginary not in (0, 1) or length < 1:
            raise ValueError(f"there is no matrix header at byte {at}")
        name = content[at + 20 : at + 20 + length].split(b"\0")[0].decode("latin-1")
        dtype = np.dtype(f"{order}{_LEVEL_4[element]}")
        start = at + 20 + length
        at = start + height * width * dtype.itemsize * (1 + imaginary)
        if at > len(content):
            raise ValueError(f"'{name}' of shape ({height}, {width}) needs {at} bytes, but the file has {len(content)}")
        if layout == 0 and not imaginary:  # neither text nor sparse
            values = np.frombuffer(content, dtype, height * width, offset=start)
            yield _Matrix(name, values.reshape(height, width, order="F"), start)


def _read_level_5(content: bytes, where: str) -> Iterator[_Matrix]:
    order = ">" if content[126:128] == b"MI" else "<"
    size = 0
    for kind, body in _elements(content[128:], order):
        if kind == _COMPRESSED:
            body = _decompress(body, size, len(content), where)
            size += len(body)
            kind, body = next(_elements(body, order), (0, b""))
        if kind == _MATRIX and (matrix := _read_matrix(body, order)):
            yield matrix


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of each level 5 element; elements of up to 4 bytes store their data in the second word."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, at)
        small = kind >> 16
        if small:
            kind, size = kind & 0xFFFF, small
        start = at + (4 if small else 8)
        end = start + size
        if end > len(content) or small > 4:
            raise ValueError("an element is cut off")
        yield kind, content[start:end]
        at = at + 8 if small else end if kind == _COMPRESSED else end + -size % 8


def _decompress(body: bytes, before: int, size: int, where: str) -> bytes:
    """Inflate an element of a file of `size` bytes whose earlier elements took `before` bytes."""
    unpack, parts = zlib.decompressobj(), []
    while body:
        parts.append(unpack.decompress(body, 2**24))
        before += len(parts[-1])
        check_size(before, size, where)
        body = unpack.unconsumed_tail
    if not unpack.eof:
        raise ValueError("a compressed variable is cut off")
    return b"".join(parts)


def _read_matrix(body: bytes, order: str) -> _Matrix | None:
    """Read a matrix of real numbers; None for any other array."""
    elements = _elements(body, order)
    (_, flags), (_, shape), (_, name) = (next(elements, (0, b"")) for _ in range(3))
    described = struct.unpack_from(f"{order}I", flags)[0]
    if described & 0xFF not in _NUMERIC or described & _COMPLEX or len(shape) != 8:
        return None
    rows, columns = struct.unpack(f"{order}2i", shape)
    kind, data = next(elements, (0, b""))
    if kind not in _TYPES or min(rows, columns) < 0:
        raise ValueError(f"unknown element type {kind}")
    dtype = np.dtype(f"{order}{_TYPES[kind]}")
    if len(data) != prod((rows, columns, dtype.itemsize)):
        raise ValueError(f"a matrix of shape ({rows}, {columns}) has {len(data)} bytes")
    return _Matrix(name.decode("latin-1"), np.frombuffer(data, dtype).reshape(rows, columns, order="F"), None)


def _choose(file: Path, matrices: list[_Matrix], rows: int, columns: int | None, header: str) -> _Matrix:
    """Choose the matrix with the signal. Raises InputError if there is none, or more than one."""
    candidates = [matrix for matrix in matrices if matrix.name == "val"] or matrices
    shapes = [matrix.values.shape for matrix in candidates]
    fitting = [
        matrix
        for matrix, shape in zip(candidates, shapes, strict=True)
        if _fits(shape, rows, columns) or _fits(shape[::-1], rows, columns)
    ]
    if len(fitting) != 1:
        several = "several matrices" if fitting else "no matrix"
        length = "any number of" if columns is None else columns
        there = ", ".join(f"'{matrix.name}' ({' x '.join(map(str, matrix.values.shape))})" for matrix in matrices)
        raise InputError(
            f"{file}: has {several} of {rows} signals x {length} samples, which {header} describes; "
            f"it has {there or 'no matrix of real numbers'}"
        )
    return fitting[0]


def _fits(shape: tuple[int, ...], rows: int, columns: int | None) -> bool:
    return shape[0] == rows and columns in (None, shape[1])
