"""An `.h5ad` file or AnnData as tables and matrices; a matrix is loaded, or left in its file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

Memory = Literal["auto", "load", "backed"]
LARGE = 2**30  # bytes; larger matrices stay in their file unless asked for
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?")
_SYMBOLS = ("gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "feature_name")


@dataclass(frozen=True, eq=False)
class Opened:
    """What AnnData holds; `matrices` and tables of `obsm` are read when they are called for.

    Keys of matrices are 'X', 'raw/X' and 'layers/NAME'.
    """

    where: str
    obs: DataFrame
    var: DataFrame
    raw_names: tuple[str, ...]  # the genes of raw/X
    matrices: Mapping[str, Callable[[], Any]]
    obsm: Mapping[str, Callable[[], Any]]  # further measurements of the same cells

    def gene_names(self, column: str | None) -> tuple[str, ...]:
        """Names of var's genes: of this column, of the index, or of symbols where the index has Ensembl ids."""
        index = tuple(map(str, self.var.index))
        if column is None:
            ensembl = bool(index) and all(map(_ENSEMBL.fullmatch, index[:100]))
            column = next((c for c in _SYMBOLS if ensembl and c in self.var.columns), "index")
        if column != "index" and column not in self.var.columns:
            hint = did_you_mean(column, ["index", *map(str, self.var.columns)])
            raise InputError(f"{self.where}: column '{column}' of var (gene_names) is not there{hint}")
        names = index if column == "index" else tuple(self.var[column].astype(str))
        if len(set(names)) < len(names):
            seen: set[str] = set()
            twice = next(name for name in names if name in seen or seen.add(name))
            raise InputError(f"{self.where}: gene '{twice}' is there {names.count(twice)} times ({column} of var)")
        return names

    def matrix(self, key: str | None, values: Literal["auto", "counts", "log1p"]) -> tuple[str, Any, bool]:
        """The key, the values (cells, genes) and whether they are counts: whole numbers, or as declared.

        Without a key the first of layers/counts, X and raw/X that holds whole numbers, else X.
        """
        if key is not None:
            if key not in self.matrices:
                raise InputError(f"{self.where}: matrix '{key}' is not there{did_you_mean(key, self.matrices)}")
            found = self.matrices[key]()
            return key, found, _whole(found) if values == "auto" else values == "counts"
        for candidate in ("layers/counts", "X", "raw/X") if values != "log1p" else ():
            if candidate in self.matrices and _whole(found := self.matrices[candidate]()):
                return candidate, found, True
        if "X" not in self.matrices:
            raise InputError(f"{self.where}: has no X; name a matrix: {', '.join(self.matrices) or 'there is none'}")
        return "X", self.matrices["X"](), values == "counts"


def open_h5ad(path: Path, memory: Memory) -> Opened:
    """Tables now, matrices later. Files written before anndata 0.7 are loaded whole."""
    import h5py
    from anndata import read_h5ad

    with h5py.File(path) as opened:
        file: Any = opened
        if "encoding-type" in file.attrs:
            keys = [key for key in ("X", "raw/X") if key in file]
            keys += [f"layers/{name}" for name in file.get("layers", ())]
            obs, var, raw = (_table(file, key) for key in ("obs", "var", "raw/var"))
            matrices = {key: _reader(path, key, memory) for key in keys}
            further = file["obsm"] if isinstance(file.get("obsm"), h5py.Group) else ()
            obsm = {name: partial(_element, path, f"obsm/{name}") for name in further}
            return Opened(str(path), obs, var, tuple(map(str, raw.index)), matrices, obsm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about its age
        return open_anndata(read_h5ad(path), str(path))


def open_anndata(adata: AnnData, where: str) -> Opened:
    """AnnData in memory."""
    found = {"X": adata.X, "raw/X": None if adata.raw is None else adata.raw.X}
    found |= {f"layers/{name}": layer for name, layer in adata.layers.items()}
    raw = () if adata.raw is None else tuple(map(str, adata.raw.var_names))
    matrices = {key: lambda matrix=matrix: _by_cells(matrix) for key, matrix in found.items() if matrix is not None}
    obs, var = (cast("DataFrame", table) for table in (adata.obs, adata.var))
    obsm = {name: lambda table=table: table for name, table in adata.obsm.items()}
    return Opened(where, obs, var, raw, matrices, obsm)


def _table(file: Any, key: str) -> Any:
    from anndata.io import read_elem
    from pandas import DataFrame

    table = read_elem(file[key]) if key in file else DataFrame()
    if not isinstance(table, DataFrame):
        raise InputError(f"{file.filename}: {key} is no table of columns; was the file written to its end?")
    return table


def _reader(path: Path, key: str, memory: Memory) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return _stored(path, key, memory)
        except (OSError, KeyError) as error:
            raise InputError(f"{path}: {key} cannot be read ({' '.join(str(error).split())[:200]})") from error

    return read


def _element(path: Path, key: str) -> Any:
    import h5py
    from anndata.io import read_elem

    try:
        with h5py.File(path) as file:
            return read_elem(cast("Any", file[key]))
    except Exception as error:  # h5py, pandas and anndata each raise their own
        raise InputError(f"{path}: {key} cannot be read ({' '.join(str(error).split())[:200]})") from error


def _stored(path: Path, key: str, memory: Memory) -> Any:
    import h5py
    from anndata.io import read_elem

    with h5py.File(path) as file:
        stored: Any = file[key]
        kind = stored.attrs.get("encoding-type")
        sparse = kind in ("csr_matrix", "csc_matrix")
        if not sparse and kind != "array":
            raise InputError(f"{path}: {key} is stored as '{kind}'; csr_matrix, csc_matrix and array are read")
        size: tuple[int, int] = tuple(map(int, stored.attrs["shape"] if sparse else stored.shape))  # type: ignore
        parts = [stored["data"], stored["indices"]] if sparse else [stored]
        large = sum(part.size * part.dtype.itemsize for part in parts) > LARGE
        if memory == "load" or (memory == "auto" and not large):
            return _by_cells(read_elem(stored))
        if kind == "csc_matrix":
            raise InputError(f"{path}: {key} is stored by genes (csc); write it as csr, or load it: memory=load")
        return BackedMatrix(path, key, size, stored["indptr"][:].astype(np.int64) if sparse else None)


def _by_cells(matrix: Any) -> Any:
    """An array, or csr."""
    return matrix if isinstance(matrix, np.ndarray) else matrix.tocsr()


def _whole(matrix: Any) -> bool:
    """Whether the values of the first thousand cells are whole numbers; all are looked at later."""
    block = matrix[np.arange(min(1000, matrix.shape[0]))]
    data = block if isinstance(block, np.ndarray) else block.data
    return bool((data == np.rint(data)).all())
