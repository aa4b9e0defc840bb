"""Open an `.h5ad` file or AnnData as tables and matrices. A matrix is loaded, or left in its file."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.data.cells.sparse import by_cells, check_pointers, numbers
from anyjepa.data.hdf5 import check_memory, open_hdf5
from anyjepa.errors import InputError, did_you_mean
from anyjepa.limits import EXPANSION, SMALL

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

Memory = Literal["auto", "load", "backed"]
_SPARSE: dict[str, Literal["cells", "genes"]] = {"csr_matrix": "cells", "csc_matrix": "genes"}
LARGE = 2**30  # bytes; larger matrices stay in their file by default
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?")
_SYMBOLS = {"genesymbol", "genesymbols", "genename", "genenames", "geneshortname", "symbol", "symbols"}
_SYMBOLS |= {"featurename", "hgncsymbol", "hugosymbol"}  # letters and digits only
_COUNTS = {"counts", "rawcounts", "countsraw", "umicounts", "umis", "umi"}  # of layers


@dataclass(frozen=True, eq=False)
class Opened:
    """Content of AnnData; `matrices` and tables of `obsm` are read on access.

    Keys of matrices are 'X', 'raw/X' and 'layers/NAME'.
    """

    where: str
    obs: DataFrame
    var: DataFrame
    raw_names: tuple[str, ...]  # the genes of raw/X
    matrices: Mapping[str, Callable[[], Any]]
    obsm: Mapping[str, Callable[[], Any]]  # further measurements of the same cells

    def gene_names(self, column: str | None) -> tuple[str, ...]:
        """Names of the genes of var: from this column, else the index, or from symbols if the index has Ensembl ids."""
        index = tuple(map(str, self.var.index))
        if column is None:
            ensembl = bool(index) and all(map(_ENSEMBL.fullmatch, index[:100]))
            column = next((str(c) for c in self.var.columns if ensembl and letters(c) in _SYMBOLS), "index")
        if column != "index" and column not in self.var.columns:
            hint = did_you_mean(column, ["index", *map(str, self.var.columns)])
            raise InputError(f"{self.where}: there is no column '{column}' in var (gene_names){hint}")
        texts = self.var.index if column == "index" else self.var[column]
        for place in np.flatnonzero(texts.isna())[:1]:
            raise InputError(f"{self.where}: gene {place + 1} has no name ({column} of var); set gene_names=COLUMN")
        names = index if column == "index" else tuple(texts.astype(str))
        if len(set(names)) < len(names):
            seen: set[str] = set()
            twice = next(name for name in names if name in seen or seen.add(name))
            raise InputError(
                f"{self.where}: gene '{twice}' occurs {names.count(twice)} times ({column} of var); make "
                "the names unique (AnnData.var_names_make_unique), or set gene_names=COLUMN"
            )
        return names

    def matrix(self, key: str | None, values: Literal["auto", "counts", "log1p"]) -> tuple[str, Any, bool]:
        """Choose a matrix: its key, values (cells, genes), and whether they are counts (whole numbers, or as declared).

        Without a key, the first of layers with a usual name of counts, X and raw/X that holds whole numbers; else X, or
        raw/X if X has values below 0, because it was scaled. Raises InputError for an X of whole numbers and fractions.
        """
        if key is not None:
            if key not in self.matrices:
                raise InputError(f"{self.where}: there is no matrix '{key}'{did_you_mean(key, self.matrices)}")
            matrix = self.matrices[key]()
            return key, matrix, _whole(matrix) if values == "auto" else values == "counts"
        layers = [key for key in self.matrices if letters(key.removeprefix("layers/")) in _COUNTS]
        for candidate in (*layers, "X", "raw/X") if values != "log1p" else ():
            if candidate in self.matrices and _whole(matrix := self.matrices[candidate]()):
                return candidate, matrix, True
        if "X" not in self.matrices:
            raise InputError(
                f"{self.where}: has no X; set matrix=NAME; the matrices are: {', '.join(self.matrices) or 'none'}"
            )
        x = self.matrices["X"]()
        if values == "auto" and "raw/X" in self.matrices and _first_values(x).min(initial=0) < 0:
            return "raw/X", self.matrices["raw/X"](), False
        data = _first_values(x)
        data = data[data != 0]
        if values == "auto" and np.isfinite(data).all() and 2 * (abs(data - np.rint(data)) < 1e-3).sum() > len(data):
            raise InputError(
                f"{self.where}: X has both whole numbers and fractions, as corrected or estimated counts do; "
                "round them, or set values=log1p"
            )
        return "X", x, values == "counts"


def letters(name: str) -> str:
    """A name in lower case, with letters and digits only: `Cell.Type` becomes `celltype`."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def open_h5ad(path: Path, memory: Memory) -> Opened:
    """Read the tables; matrices are read later. Files from before anndata 0.7 are loaded whole. Raises InputError."""
    from anndata import read_h5ad

    with open_hdf5(path) as file:
        if "encoding-type" in file.attrs:
            keys = [key for key in ("X", "raw/X") if key in file]
            keys += [f"layers/{name}" for name in _members(file, "layers")]
            obs, var, raw = (_table(path, file, key) for key in ("obs", "var", "raw/var"))
            size = {key: (len(obs), len(raw if key == "raw/X" else var)) for key in keys}
            matrices = {key: partial(_stored, path, key, size[key], memory) for key in keys}
            obsm = {name: partial(_element, path, f"obsm/{name}") for name in _members(file, "obsm")}
            return Opened(str(path), obs, var, tuple(map(str, raw.index)), matrices, obsm)
        check_memory(path, "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats
            return open_anndata(read_h5ad(path), str(path))


def open_anndata(adata: AnnData, where: str) -> Opened:
    """Open AnnData in memory. Raises InputError."""
    stored = {"X": adata.X, "raw/X": None if adata.raw is None else adata.raw.X}
    stored |= {f"layers/{name}": layer for name, layer in adata.layers.items()}
    raw = () if adata.raw is None else tuple(map(str, adata.raw.var_names))
    matrices = {
        key: partial(_in_memory, matrix, f"{where}: {key}") for key, matrix in stored.items() if matrix is not None
    }
    obs, var = (_columns(table, f"{where}: {name}") for name, table in (("obs", adata.obs), ("var", adata.var)))
    obsm = {name: lambda table=table: table for name, table in adata.obsm.items()}
    return Opened(where, obs, var, raw, matrices, obsm)


def _members(file: Any, key: str) -> list[str]:
    """Names in a group; empty if it is not a group."""
    group = file.get(key)
    return list(group) if hasattr(group, "keys") else []


def _table(path: Path, file: Any, key: str) -> DataFrame:
    from pandas import DataFrame

    check_memory(path, key)
    table = _read(file[key]) if key in file else DataFrame()
    if not isinstance(table, DataFrame):
        raise InputError(f"{path}: {key} is not a table of columns; the file may be incomplete")
    return _columns(table, f"{path}: {key}")


def _columns(table: Any, where: str) -> DataFrame:
    """The table with its column names as texts. Raises InputError if a name occurs twice or a column holds tables."""
    from pandas.api.types import infer_dtype, is_scalar

    table = table.rename(columns=str)
    if not table.columns.is_unique:
        raise InputError(f"{where}: column '{table.columns[table.columns.duplicated()][0]}' occurs twice; rename one")
    for name in table:
        if infer_dtype(table[name]) == "mixed" and not all(map(is_scalar, table[name])):
            raise InputError(f"{where}: column '{name}' must hold one text or number per row")
    return table


def _element(path: Path, key: str) -> Any:
    with open_hdf5(path, key) as file:
        check_memory(path, key)
        return _read(file[key])


def _read(element: Any) -> Any:
    from anndata.io import read_elem

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about elements of old formats, which are read as well
        return read_elem(element)


def _stored(path: Path, key: str, size: tuple[int, int], memory: Memory) -> Any:
    """Read a matrix of this size as an array, csr, or BackedMatrix. Raises InputError."""
    where = f"{path}: {key}"
    with open_hdf5(path, key) as file:
        stored: Any = file[key]
        kind = _text(stored.attrs.get("encoding-type", "array"))
        if kind not in _SPARSE and (kind != "array" or hasattr(stored, "keys")):
            raise InputError(f"{where} is stored as '{kind}'; csr_matrix, csc_matrix and array are read")
        sparse = kind in _SPARSE
        shape = tuple(map(int, stored.attrs["shape"] if sparse else stored.shape))
        if shape != size:
            raise InputError(f"{where} has shape {shape}, but there are {size[0]} cells and {size[1]} genes")
        parts = [stored["data"], stored["indices"]] if sparse else [stored]
        needed = sum(math.prod(part.shape) * part.dtype.itemsize for part in parts)
        if memory == "load" or (memory == "auto" and needed <= LARGE):
            check_memory(path, key)
            if not sparse:
                return numbers(stored[()], where)
            data, indices, indptr = (stored[name][()] for name in ("data", "indices", "indptr"))
            return by_cells(data, indices, indptr, size, _SPARSE[kind], where)
        if kind == "csc_matrix":
            raise InputError(f"{where} is stored by genes (csc); save it as csr, or set memory=load")
        if needed > SMALL:
            EXPANSION.check(math.ceil(needed / path.stat().st_size), f"{where}, compared with its file,")
        if not sparse:
            return BackedMatrix(path, key, size, None)
        check_memory(path, f"{key}/indptr")
        return BackedMatrix(path, key, size, check_pointers(stored["indptr"][()], size[0], parts[1].size, where))


def _in_memory(matrix: Any, where: str) -> Any:
    """Convert a matrix in memory to an array or csr. Raises InputError."""
    from scipy.sparse import issparse

    if isinstance(matrix, np.ndarray):
        return numbers(matrix, where)
    if not issparse(matrix):
        raise InputError(f"{where} is a {type(matrix).__name__}; it must be an array or a sparse matrix in memory")
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocsr()
    order = "cells" if matrix.format == "csr" else "genes"
    return by_cells(matrix.data, matrix.indices, matrix.indptr, matrix.shape, order, where)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _whole(matrix: Any) -> bool:
    """Whether the values of the first thousand cells are whole numbers; all values are checked later."""
    data = _first_values(matrix)
    return bool((data == np.rint(data)).all())


def _first_values(matrix: Any) -> np.ndarray:
    block = matrix[np.arange(min(1000, matrix.shape[0]))]
    return block if isinstance(block, np.ndarray) else block.data
