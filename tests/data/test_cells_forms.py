"""One matrix in any form of storage gives the same expression; damaged and hostile forms end in one line."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from anyjepa.data.cells.files import CellFileConfig, from_anndata, read_h5ad
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.errors import InputError

CELLS, GENES = 30, 7
ALL = CellFileConfig(quality=QualityConfig(min_genes=0, max_mito=1, min_cells=0, min_condition_cells=0))
BACKED, LOADED = (ALL.model_copy(update={"memory": memory}) for memory in ("backed", "load"))
TYPES = ("u1", "i2", "<i8", ">i4", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8")


def screen(matrix: object) -> anndata.AnnData:
    """30 cells, ten of them controls, of 7 genes."""
    obs = pd.DataFrame({"perturbation": ["control"] * 10 + ["G1"] * 20}, index=[f"c{n}" for n in range(CELLS)])
    return anndata.AnnData(matrix, obs, pd.DataFrame(index=pd.Index([f"G{n}" for n in range(GENES)], dtype=object)))


def counts(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.0, (CELLS, GENES)).astype(np.float32)


def expression(matrix: np.ndarray) -> np.ndarray:
    return np.log1p(10_000 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1))


def stored(matrix: np.ndarray, dtype: str, parts: int, by_genes: bool, rng: np.random.Generator) -> sparse.csr_matrix:
    """Each entry in several parts, which add up to it, zeros among them, in any order."""
    matrix = matrix.T if by_genes else matrix
    data, indices, indptr = [], [], [0]
    for row in matrix:
        entries = [(column, value) for column, value in enumerate(row) if value or rng.random() < 0.2]
        entries = [(c, v // 2 if part else v - (parts - 1) * (v // 2)) for c, v in entries for part in range(parts)]
        for entry in rng.permutation(len(entries)):
            indices.append(entries[entry][0])
            data.append(entries[entry][1])
        indptr.append(len(data))
    kind = sparse.csc_matrix if by_genes else sparse.csr_matrix
    found = kind((CELLS, GENES), dtype=np.float32)
    found.data, found.indices, found.indptr = np.array(data, dtype), np.array(indices), np.array(indptr)
    return found


def put(path: Path, key: str, matrix: sparse.csr_matrix, wide: str) -> None:
    """Write a sparse matrix as it is: SciPy would change its type."""
    with h5py.File(path, "a") as file:
        attributes = dict(file[key].attrs)
        del file[key]
        group = file.create_group(key)
        group.attrs.update(attributes)
        group["data"] = matrix.data
        group["indices"], group["indptr"] = matrix.indices.astype(wide), matrix.indptr.astype(wide)


@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(TYPES),
    parts=st.integers(1, 3),
    by_genes=st.booleans(),
    wide=st.sampled_from(["<i4", "<i8", ">i8", "<u8"]),
)
def test_any_sparse_storage_gives_the_same_expression(seed, dtype, parts, by_genes, wide):
    rng, matrix = np.random.default_rng(seed), counts(seed)
    want = expression(matrix)
    odd = stored(matrix, dtype, parts, by_genes, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.h5ad")
        write(screen(sparse.csc_matrix(matrix) if by_genes else sparse.csr_matrix(matrix)), path)
        put(path, "X", odd, wide)
        found = read_h5ad(path, LOADED)
        assert found.has_counts
        np.testing.assert_allclose(found.rows(np.arange(CELLS)), want, atol=1e-4)
        if not by_genes:
            backed = read_h5ad(path, BACKED)
            some = rng.integers(0, CELLS, 12)
            np.testing.assert_allclose(backed.rows(some), want[some], atol=1e-4)
            assert np.array_equal(backed.counts(some), matrix[some])


@pytest.mark.parametrize("dtype", [*TYPES, "<f16"])
def test_any_dense_type_gives_the_same_expression(dtype, tmp_path):
    matrix = counts(1)
    want = expression(matrix)
    found = [from_anndata(screen(matrix.astype(dtype)), ALL)]
    if dtype != "<f16":
        write(screen(matrix.astype(dtype)), tmp_path / "s.h5ad")
        found += [read_h5ad(tmp_path / "s.h5ad", config) for config in (LOADED, BACKED)]
    for one in found:
        np.testing.assert_allclose(one.rows(np.arange(CELLS)), want, atol=1e-4)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
def test_bools_in_memory_are_counts_of_one(form):
    matrix = counts(2) > 0
    found = from_anndata(screen(form(matrix)), ALL)
    np.testing.assert_allclose(found.rows(np.arange(CELLS)), expression(matrix.astype(float)), atol=1e-4)


def test_small_integers_do_not_overflow_when_their_parts_are_summed():
    matrix = sparse.csr_matrix((CELLS, GENES), dtype=np.uint8)
    matrix.data, matrix.indices = np.full(60, 200, np.uint8), np.full(60, 3)
    matrix.indptr = np.arange(0, 61, 2)
    adata = screen(matrix)
    assert from_anndata(adata, ALL).counts(np.array([0]))[0].tolist() == [0, 0, 0, 400, 0, 0, 0]
    assert adata.X.nnz == 60  # the caller's matrix is as it was


@pytest.mark.parametrize("key", ["layers/counts", "raw/X"])
def test_layers_and_raw_in_parts(key, tmp_path):
    matrix = counts(3)
    adata = screen(sparse.csr_matrix(expression(matrix)))
    if key == "raw/X":
        adata.raw = screen(sparse.csr_matrix(matrix))
    else:
        adata.layers["counts"] = sparse.csr_matrix(matrix)
    write(adata, tmp_path / "s.h5ad")
    put(tmp_path / "s.h5ad", key, stored(matrix, "<i4", 2, False, np.random.default_rng(0)), "<i8")
    for config in (LOADED, BACKED):
        found = read_h5ad(tmp_path / "s.h5ad", config)
        assert found.report["values"]["from"] == key
        np.testing.assert_allclose(found.rows(np.arange(CELLS)), expression(matrix), atol=1e-4)


def change(key: str, place: int, value: object) -> Callable[[h5py.File], None]:
    def apply(file: h5py.File) -> None:
        values = file[key][()]
        values[place] = value
        file[key][...] = values

    return apply


def replace(key: str, value: object, **attributes: object) -> Callable[[h5py.File], None]:
    def apply(file: h5py.File) -> None:
        kept = dict(file[key].attrs)
        del file[key]
        file[key] = value
        file[key].attrs.update(kept | attributes)

    return apply


def attribute(key: str, name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file[key].attrs.__setitem__(name, value)


def drop(key: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(key)


DAMAGED = {
    "pointer beyond the end": (
        change("X/indptr", 5, 2**30),
        r"X/indptr: decreases from 1073741824 to \d+ after entry 5",
    ),
    "pointer below zero": (change("X/indptr", 5, -5), r"X/indptr: decreases from \d+ to -5 after entry 4"),
    "first pointer": (change("X/indptr", 0, 1), r"X/indptr: goes from 1 to \d+; it must go from 0 to"),
    "last pointer": (change("X/indptr", -1, 2**31 - 1), r"X/indptr: goes from 0 to 2147483647; it must go from 0 to"),
    "pointers too few": (replace("X/indptr", [0, 3]), r"X/indptr: has 2 entries; a matrix of 30 rows needs 31"),
    "pointers no numbers": (replace("X/indptr", ["a"] * 31), r"X/indptr: has type object"),
    "pointers no whole numbers": (replace("X/indptr", np.zeros(31)), r"X/indptr: has type float64"),
    "index too large": (change("X/indices", 2, 7), r"X/indices: entry 2 is 7; it must lie between 0 and 6"),
    "index far too large": (change("X/indices", 2, 2**30), r"X/indices: entry 2 is 1073741824"),
    "index below zero": (change("X/indices", 2, -1), r"X/indices: entry 2 is -1"),
    "fewer values": (replace("X/data", np.ones(3, "f4")), r"X: data has shape \(3,\), indices|X/indptr|cannot be read"),
    "values of two dimensions": (replace("X/data", np.ones((3, 2))), r"X: data has shape \(3, 2\)|cannot be read"),
    "text": (lambda f: replace("X/data", ["a"] * len(f["X/data"]))(f), r"X holds values of type object"),
    "complex": (lambda f: replace("X/data", f["X/data"][()] * 1j)(f), r"X holds values of type complex"),
    "no values": (drop("X/data"), r"X cannot be read"),
    "other shape": (attribute("X", "shape", [30, 70]), r"X has shape \(30, 70\), but there are 30 cells and 7 genes"),
    "huge shape": (
        attribute("X", "shape", [2**62, 7]),
        r"X has shape \(4611686018427387904, 7\), but there are 30 cells",
    ),
    "shape no numbers": (attribute("X", "shape", "none"), r"X cannot be read"),
    "no shape": (lambda f: f["X"].attrs.__delitem__("shape"), r"X cannot be read"),
    "encoding": (attribute("X", "encoding-type", "coo_matrix"), r"X is stored as 'coo_matrix'; csr_matrix, csc_matrix"),
    "encoding no text": (attribute("X", "encoding-type", 3), r"X is stored as '3'"),
    "X a group": (attribute("X", "encoding-type", "array"), r"X is stored as 'array'"),
    "obs no table": (attribute("obs", "encoding-type", "dict"), r"obs is not a table|cannot be read"),
    "obs of another encoding": (attribute("obs", "encoding-type", "x"), r"cannot be read"),
    "column of another encoding": (attribute("obs/perturbation", "encoding-type", "x"), r"cannot be read"),
    "code of no category": (change("obs/perturbation/codes", 3, 99), r"cannot be read"),
    "no obs": (drop("obs"), r"has 0 cells and 7 genes"),
    "no index": (drop("obs/_index"), r"cannot be read"),
    "columns twice": (
        attribute("obs", "column-order", ["perturbation"] * 2),
        r"obs: column 'perturbation' occurs twi",
    ),
    "cells too few": (replace("obs/_index", ["a", "b"]), r"cannot be read|X has shape"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("config", [LOADED, BACKED], ids=["load", "backed"])
@pytest.mark.parametrize(("spoil", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_ends_in_one_line(spoil, message, config, tmp_path):
    path = tmp_path / "s.h5ad"
    write(screen(sparse.csr_matrix(counts(4))), path)
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=message) as error:
        read_h5ad(path, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("place", "value"), [("indptr", 2**30), ("indices", -1), ("indices", 2**30)])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
def test_damage_in_memory_ends_in_one_line(form, place, value):
    matrix = form(counts(5))
    getattr(matrix, place)[3] = value
    with pytest.raises(InputError, match=rf"AnnData: X/{place}: "):
        from_anndata(screen(matrix), ALL)


def test_values_under_a_mask_are_not_used():
    matrix = counts(5)
    found = from_anndata(screen(np.ma.MaskedArray(matrix)), ALL)  # with nothing under the mask
    np.testing.assert_allclose(found.rows(np.arange(CELLS)), expression(matrix), atol=1e-4)
    with pytest.raises(InputError, match="AnnData: X has masked values"):
        from_anndata(screen(np.ma.MaskedArray(matrix, matrix > 3)), ALL)


def test_what_holds_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="AnnData: no value is above zero"):
        from_anndata(screen(sparse.csr_matrix((CELLS, GENES))), ALL)
    with pytest.raises(InputError, match="AnnData: has 0 cells and 7 genes"):
        from_anndata(screen(counts(0))[:0].copy(), ALL)
    with pytest.raises(InputError, match="AnnData: has 30 cells and 0 genes"):
        from_anndata(screen(counts(0))[:, :0].copy(), ALL)
    write(screen(sparse.csr_matrix((CELLS, GENES), dtype=np.float32)), tmp_path / "s.h5ad")
    for config in (LOADED, BACKED):
        with pytest.raises(InputError, match="no value is above zero"):
            read_h5ad(tmp_path / "s.h5ad", config)


@pytest.mark.parametrize(
    ("number", "message"),
    [(np.nan, "value nan is not finite"), (-np.inf, "value -inf is not finite"), (-1, "value -1 is negative")],
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_what_is_no_count_is_named(number, message, form):
    matrix = counts(6)
    matrix[17, 3] = number
    with pytest.raises(InputError, match=rf"cell 'c17', gene 'G3': {message}"):
        from_anndata(screen(form(matrix)), ALL)


def test_names_that_are_there_twice_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = screen(counts(7))
        adata.var.index = ["G0", "G1", "G1", "G3", "G4", "G5", "G6"]
        adata.var["symbol"] = [f"S{n}" for n in range(GENES)]
        with pytest.raises(InputError, match=r"gene 'G1' occurs 2 times \(index of var\); make the names unique"):
            from_anndata(adata, ALL)
        assert from_anndata(adata, ALL.model_copy(update={"gene_names": "symbol"})).genes[2] == "S2"
        adata.var.loc[:, "symbol"] = [*["S"] * 3, None, "T", "U", "V"]
        with pytest.raises(InputError, match=r"gene 4 has no name \(symbol of var\)"):
            from_anndata(adata, ALL.model_copy(update={"gene_names": "symbol"}))
        adata = screen(counts(7))
        adata.obs.index = ["c1", "c1", *adata.obs_names[2:]]
        with pytest.raises(InputError, match="cell 'c1' occurs twice"):
            from_anndata(adata, ALL)
        adata = screen(expression(counts(7)))
        adata.raw = screen(counts(7))
        adata.raw.var.index = ["G0", "G1", "G1", *adata.var_names[3:]]
        with pytest.raises(InputError, match="a gene of raw occurs twice"):
            from_anndata(adata, ALL)


def test_declared_sizes_are_compared_with_the_limits(tmp_path):
    """Unwritten chunks: terabytes in a file of kilobytes."""
    cells = 10**6
    path = tmp_path / "s.h5ad"
    write(screen(counts(8)), path)
    with h5py.File(path, "a") as file:
        replace_by = {"shape": (cells, GENES), "dtype": "f4", "chunks": (1000, GENES)}
        kept = dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", **replace_by).attrs.update(kept)
    with pytest.raises(InputError, match=r"X has shape \(1000000, 7\), but there are 30 cells"):
        read_h5ad(path, BACKED)
    with h5py.File(path, "a") as file:
        kept = dict(file["obs/_index"].attrs)
        del file["obs/_index"]
        file.create_dataset("obs/_index", (10**9,), "i8", chunks=(10**6,)).attrs.update(kept)
    with pytest.raises(InputError, match=r"s.h5ad: obs needs 8 GB"):
        read_h5ad(path, BACKED)
