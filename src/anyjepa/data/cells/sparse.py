"""Check matrices before compiled code reads them, and sum repeated entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyjepa.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NATIVE = {("b", 1): np.uint8, ("f", 2): np.float32, ("f", 16): np.float64}  # types that SciPy does not support


def numbers(values: Any, where: str) -> np.ndarray:
    """Convert values to a type that SciPy supports. Raises InputError for text, complex numbers and masked values."""
    if np.ma.is_masked(values):
        raise InputError(f"{where} has masked values; every cell needs a value of every gene")
    array = np.asarray(values)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf":
        raise InputError(f"{where} holds values of type {array.dtype}; expression must be real numbers")
    return array.astype(_NATIVE.get((kind, size), array.dtype.newbyteorder("=")), copy=False)


def by_cells(
    data: Any, indices: Any, indptr: Any, shape: tuple[int, int], order: Literal["cells", "genes"], where: str
) -> csr_matrix:
    """Convert a csr or csc matrix to csr (cells, genes) in canonical form.

    Repeated entries are summed in 64 bits. Raises InputError for pointers and indices that do not fit the shape, with
    which SciPy would read outside its arrays.
    """
    from scipy.sparse import csc_matrix, csr_matrix

    long, short = shape if order == "cells" else shape[::-1]
    values, places = numbers(data, where), _whole(indices, f"{where}/indices")
    if values.shape != places.shape:
        raise InputError(f"{where}: data has shape {values.shape}, indices {places.shape}; they must be equal")
    pointers = check_pointers(indptr, long, len(places), where)
    if len(places) and not 0 <= places.min() <= places.max() < short:
        wrong = int(np.flatnonzero((places < 0) | (places >= short))[0])
        raise InputError(f"{where}/indices: entry {wrong} is {places[wrong]}; it must lie between 0 and {short - 1}")
    kind = csr_matrix if order == "cells" else csc_matrix
    matrix: Any = kind((values, places, pointers), shape=shape).tocsr()
    if matrix.has_canonical_format:
        return matrix
    stored, narrow = matrix.nnz, matrix.dtype
    matrix = matrix.astype(np.float64 if narrow.kind == "f" else np.int64)
    matrix.sum_duplicates()
    return matrix.astype(narrow) if matrix.nnz == stored else matrix


def check_pointers(indptr: Any, rows: int, stored: int, where: str) -> np.ndarray:
    """Row pointers, (rows + 1,) int64. Raises InputError if they are invalid."""
    pointers = _whole(indptr, f"{where}/indptr").astype(np.int64, copy=False)
    if len(pointers) != rows + 1:
        raise InputError(f"{where}/indptr: has {len(pointers)} entries; a matrix of {rows} rows needs {rows + 1}")
    if pointers[0] != 0 or pointers[-1] != stored:
        raise InputError(f"{where}/indptr: goes from {pointers[0]} to {pointers[-1]}; it must go from 0 to {stored}")
    for row in np.flatnonzero(np.diff(pointers) < 0)[:1]:
        raise InputError(f"{where}/indptr: decreases from {pointers[row]} to {pointers[row + 1]} after entry {row}")
    return pointers


def _whole(values: Any, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{where}: has type {array.dtype} and shape {array.shape}; it must be a list of whole numbers")
    return array.astype(np.int64 if array.dtype.kind == "u" else array.dtype.newbyteorder("="), copy=False)
