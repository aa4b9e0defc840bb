"""Proteins beside expression: simulated, read from obsm, refused in one line, and as pairs of training."""

from __future__ import annotations

from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from anyjepa.data.cells.dataset import WITHOUT_PHASE
from anyjepa.data.cells.files import CellFileConfig, from_anndata, read_h5ad
from anyjepa.data.cells.protein_simulator import ProteinSimulatorConfig, simulate_proteins
from anyjepa.data.cells.proteins import Proteins
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.cells.screen import Labels
from anyjepa.data.cells.source import CellDataConfig, evaluation_data, training_data
from anyjepa.data.cells.splits import ByCell, UnseenContext, split
from anyjepa.errors import InputError
from anyjepa.recipes.schema import load_recipe

SMALL = ProteinSimulatorConfig(genes=40, regulators=10, proteins=6, types=3, cells=60)
LOOSE = CellFileConfig(condition="none", quality=QualityConfig(min_genes=0, min_cells=0))


@pytest.fixture
def adata():
    """60 cells of 40 genes, raw counts as csr; 6 proteins in obsm."""
    screen = simulate_proteins(SMALL)
    obs = pd.DataFrame({"cell_type": [f"type{code}" for code in screen.cell_type.codes]}, index=list(screen.ids))
    made = anndata.AnnData(sparse.csr_matrix(screen.values), obs, pd.DataFrame(index=list(screen.genes)))
    made.obsm["protein_expression"] = pd.DataFrame(
        screen.proteins.counts, index=made.obs_names, columns=list(screen.proteins.names)
    )
    return made


def test_the_simulator_follows_its_seed():
    first, again, other = (simulate_proteins(config) for config in (SMALL, SMALL, SMALL.model_copy(update={"seed": 1})))
    assert np.array_equal(first.proteins.counts, again.proteins.counts)
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.proteins.counts, other.proteins.counts)
    assert first.proteins.counts.shape == (60, 6)
    assert {name.removesuffix("-protein") for name in first.proteins.names} <= set(first.genes)


def test_proteins_of_a_type_are_alike_and_follow_expression():
    screen = simulate_proteins(ProteinSimulatorConfig(genes=60, regulators=20, proteins=12, cells=1500))
    level, types = screen.proteins.levels(np.arange(1500)), screen.cell_type.codes
    means = np.stack([level[types == t].mean(0) for t in range(6)])
    between = ((means[types] - level.mean(0)) ** 2).sum() / ((level - level.mean(0)) ** 2).sum()
    assert 0.1 < between < 0.6  # the rest is of cells
    x = screen.rows(np.arange(1500))
    genes = [screen.genes.index(name.removesuffix("-protein")) for name in screen.proteins.names]
    own = [np.corrcoef(x[:, gene], level[:, p])[0, 1] for p, gene in enumerate(genes)]
    assert np.median(own) > 0.25


@given(st.integers(0, 2**20), st.integers(1, 30))
def test_levels_are_centred_and_counts_of_another_order_give_the_same(seed, proteins):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(20, (4, proteins)).astype(np.float32)
    level = Proteins(tuple(map(str, range(proteins))), counts).levels(np.arange(4))
    np.testing.assert_allclose(level.mean(1), 0, atol=1e-5)
    order = rng.permutation(proteins)
    there = Proteins(tuple(map(str, order)), counts[:, order]).select(tuple(map(str, range(proteins))), "x")
    np.testing.assert_allclose(there.levels(np.arange(4)), level, atol=1e-6)


@pytest.mark.parametrize("memory", ["load", "backed"])
def test_a_file_is_read_as_it_was_written(adata, tmp_path, memory):
    write(adata, tmp_path / "cite.h5ad")
    screen = read_h5ad(tmp_path / "cite.h5ad", LOOSE.model_copy(update={"memory": memory}), proteins=True)
    assert screen.proteins.names == tuple(adata.obsm["protein_expression"].columns)
    np.testing.assert_array_equal(screen.proteins.counts, adata.obsm["protein_expression"].to_numpy())
    some = screen.select(cells=np.array([3, 1]))
    np.testing.assert_array_equal(some.proteins.counts, screen.proteins.counts[[3, 1]])


def test_cells_that_are_left_out_take_their_proteins_with_them(adata):
    counts = adata.X.toarray()
    counts[7], counts[7, 0] = 0, 5
    adata.X = sparse.csr_matrix(counts)
    screen = from_anndata(adata, LOOSE.model_copy(update={"quality": QualityConfig(min_genes=2, min_cells=0)}), True)
    kept = [int(name.removeprefix("cell")) for name in screen.ids]
    assert 7 not in kept
    np.testing.assert_array_equal(screen.proteins.counts, adata.obsm["protein_expression"].to_numpy()[kept])


def test_proteins_are_read_where_they_are_asked_for(adata):
    adata.obsm["surface"] = adata.obsm.pop("protein_expression")
    adata.obsm["X_pca"] = np.zeros((60, 2))
    assert from_anndata(adata, LOOSE).proteins is None
    assert from_anndata(adata, LOOSE).report["obsm"] == ["surface", "X_pca"]
    with pytest.raises(
        InputError,
        match=r"as 'protein_expression' or 'adt'; set proteins=KEY; the tables are: surface",
    ):
        from_anndata(adata, LOOSE, proteins=True)
    named = from_anndata(adata, LOOSE.model_copy(update={"proteins": "surface"}), proteins=True)
    adata.obsm["ADT"] = adata.obsm["surface"]
    assert from_anndata(adata, LOOSE, proteins=True).proteins.names == named.proteins.names


def broken(change):
    def apply(adata):
        table = adata.obsm["protein_expression"].copy()
        adata.obsm["protein_expression"] = change(table)

    return apply


def negative(table):
    table.iloc[3, 1] = -1
    return table


def fraction(table):
    table.iloc[3, 1] = 0.5
    return table


def unknown(table):
    table.iloc[3, 1] = np.nan
    return table


def enormous(table):
    return table.astype(float).replace(table.iloc[0, 0], 1e300)


def twice(table):
    table.columns = [table.columns[0], *table.columns[:-1]]
    return table


def texts(table):
    return table.astype(str).replace(table.iloc[0, 0].astype(str), "many")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (negative, r"protein '\S+-protein' of cell 'cell3' is -1; raw counts are needed"),
        (fraction, r"of cell 'cell3' is 0\.5; raw counts"),
        (unknown, r"of cell 'cell3' is nan; raw counts"),
        (enormous, r"is 1e\+300; raw counts"),
        (twice, "proteins with distinct names"),
        (lambda table: table.iloc[:, :1], "at least two proteins"),
        (texts, "proteins must be numbers"),
        (lambda table: table * 1j, "proteins must be numbers"),
        (lambda table: table.to_numpy(), "proteins need names: use a DataFrame"),
    ],
)
def test_broken_proteins_end_in_one_line(adata, change, message):
    broken(change)(adata)
    with pytest.raises(InputError, match=message) as error:
        from_anndata(adata, LOOSE, proteins=True)
    assert "\n" not in str(error.value)


def test_which_proteins_is_asked_where_it_is_not_clear(adata):
    adata.obsm["adt"] = adata.obsm["protein_expression"]
    with pytest.raises(InputError, match=r"could each be proteins; set proteins=KEY"):
        from_anndata(adata, LOOSE, proteins=True)
    with pytest.raises(InputError, match=r"there is no obsm/prot \(proteins\)"):
        from_anndata(adata, LOOSE.model_copy(update={"proteins": "prot"}), proteins=True)


@pytest.mark.parametrize("damage", ["order", "encoding", "short", "dataset"])
def test_a_damaged_table_of_a_file_ends_in_one_line(adata, tmp_path, damage):
    write(adata, tmp_path / "cite.h5ad")
    with h5py.File(tmp_path / "cite.h5ad", "r+") as file:
        table = file["obsm/protein_expression"]
        first = table.attrs["column-order"][0]
        if damage == "order":
            index = table[table.attrs["_index"]]
            index[...] = index[:][::-1]
        elif damage == "encoding":
            table.attrs["encoding-type"] = "nothing"
        elif damage == "short":
            del table[first]
            table[first] = np.zeros(10, np.float32)
            table[first].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        else:
            del file["obsm"]
            file["obsm"] = np.zeros(3)
    message = {"order": "has row 'cell59' where obs has cell 'cell0'", "dataset": "obsm"}.get(damage, "cannot be read")
    with pytest.raises(InputError, match=message) as error:
        read_h5ad(tmp_path / "cite.h5ad", LOOSE, proteins=True)
    assert "\n" not in str(error.value)
    if damage != "dataset":
        assert len(read_h5ad(tmp_path / "cite.h5ad", LOOSE)) == 60  # proteins that are not asked for do no harm


def config(**settings):
    return CellDataConfig(simulator=SMALL, genes=30, proteins=6, hidden=WITHOUT_PHASE, **settings)


def test_a_pair_is_a_cell_and_its_proteins():
    dataset = training_data(config(split=ByCell()), [])
    x, (other, condition, valid) = dataset.pairs([4, 0], [], [], 0)
    rows = dataset.rows[[4, 0]]
    assert (condition, valid) == (None, None)
    np.testing.assert_array_equal(x[:, 0], dataset.screen.rows(rows))
    np.testing.assert_array_equal(other[:, 0], dataset.screen.proteins.levels(rows))
    assert (x.shape, other.shape) == ((2, 1, 30), (2, 1, 6))
    assert other.dtype == np.float32


def test_a_model_finds_its_proteins_in_another_order_and_among_others(adata, tmp_path):
    preprocessing = training_data(config(), []).preprocessing
    table = adata.obsm["protein_expression"]
    shuffled = table[table.columns[::-1]].assign(more=1.0)
    adata.obsm["protein_expression"] = shuffled
    screen = preprocessing.fit(from_anndata(adata, LOOSE, proteins=True))
    np.testing.assert_array_equal(screen.proteins.counts, table.to_numpy())
    adata.obsm["protein_expression"] = table.iloc[:, 1:]
    with pytest.raises(InputError, match="1 of 6 proteins are missing: "):
        preprocessing.fit(from_anndata(adata, LOOSE, proteins=True))
    del adata.obsm["protein_expression"]
    write(adata, tmp_path / "rna.h5ad")
    assert len(evaluation_data(preprocessing, [tmp_path / "rna.h5ad"])) == 60  # to embed a cell its genes suffice


def test_what_training_needs_is_said(adata, tmp_path):
    with pytest.raises(InputError, match=r"simulated knockdowns have no proteins; data\.simulator"):
        training_data(CellDataConfig(genes=30, proteins=6, hidden=WITHOUT_PHASE), [])
    with pytest.raises(InputError, match=r"has 6 proteins, not data\.proteins=5; set it to 6"):
        training_data(config().model_copy(update={"proteins": 5}), [])
    del adata.obsm["protein_expression"]
    write(adata, tmp_path / "rna.h5ad")
    with pytest.raises(InputError, match="no obsm table has a usual name for proteins"):
        training_data(config(file=LOOSE), [tmp_path / "rna.h5ad"])
    with pytest.raises(InputError, match=r"hidden\.steps must be 0 where cells are paired with their proteins"):
        load_recipe("two-modality-demo", ["data.hidden.steps=5"])
    with pytest.raises(InputError, match=r"proteins=41 exceeds the number of genes, 40"):
        load_recipe("two-modality-demo", ["data.simulator.genes=40", "data.simulator.proteins=41"])


def test_a_donor_can_be_held_out_where_nothing_was_done_to_any_cell():
    screen = simulate_proteins(SMALL)
    donors = Labels(("a", "b", "c"), np.arange(60) % 3)
    done = split(replace(screen, donor=donors), UnseenContext(label="donor", name="b"), 0)
    assert set(done.test) == set(np.flatnonzero(donors.codes == 1))
    assert not set(done.test) & set(np.r_[done.train, done.validation])
    assert len(done.validation) == 4
    drawn = split(replace(screen, donor=donors), UnseenContext(label="donor"), 1)
    assert len(set(donors.codes[drawn.test])) == 1
