"""Screens in memory and in files, variable genes, matched controls."""

from __future__ import annotations

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.genes import normalised_dispersion, variable_genes
from anyjepa.data.cells.matching import Controls, MatchingConfig
from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.data.cells.screen import Labels, Screen
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.errors import InputError

SMALL = CellSimulatorConfig(genes=60, regulators=12, singles=10, doubles=6, cells=30, controls=120, batches=2)


@pytest.fixture(scope="module")
def screen():
    return simulate(SMALL)


@pytest.fixture(params=["array", "csr", "backed csr", "backed array"])
def stored(request, screen, tmp_path):
    """The same screen, its values stored in each way."""
    csr = sparse.csr_matrix(screen.values)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["dense"] = screen.values
        for name in ("data", "indices", "indptr"):
            file[f"sparse/{name}"] = getattr(csr, name)
    values = {
        "array": screen.values,
        "csr": csr,
        "backed csr": BackedMatrix(tmp_path / "x.h5", "sparse", csr.shape, csr.indptr.astype(np.int64)),
        "backed array": BackedMatrix(tmp_path / "x.h5", "dense", csr.shape, None),
    }
    return replace(screen, values=values[request.param])


def test_rows_are_log1p_of_ten_thousand_however_they_are_stored(screen, stored):
    cells = np.array([5, 3, 3, 599, 0])
    counts = screen.values[cells].astype(float)
    expected = np.log1p(10_000 * counts / counts.sum(1, keepdims=True))
    assert np.allclose(stored.rows(cells), expected, atol=1e-5)
    assert stored.rows(cells).dtype == np.float32
    assert np.array_equal(stored.counts(cells), counts)
    assert stored.rows(np.empty(0, int)).shape == (0, 60)
    assert np.allclose(stored.means(), screen.means(), atol=1e-5)


def test_a_selection_keeps_order_truth_and_the_library_of_all_genes(screen, stored):
    cells, genes = np.array([400, 7, 130]), ("G40", "T3", "G12")
    columns = [40, 3, 12]
    for part in (stored.select(cells, genes), stored.select(genes=genes).select(cells)):
        assert part.genes == genes
        assert part.ids == tuple(f"cell{cell}" for cell in cells)
        assert np.allclose(part.rows(np.arange(3)), screen.rows(cells)[:, columns], atol=1e-5)
        assert np.array_equal(part.library, screen.library[cells])
        assert np.array_equal(part.truth, screen.truth[:, columns])
        assert part.batch.codes.tolist() == screen.batch.codes[cells].tolist()
    backwards = stored.select(cells).select(np.array([2, 0]))
    assert backwards.ids == ("cell130", "cell400")
    assert np.array_equal(backwards.counts(np.arange(2)), screen.values[[130, 400]])


def test_a_screen_can_be_sent_to_a_worker(stored):
    stored.rows(np.arange(3))
    there = pickle.loads(pickle.dumps(stored))
    assert np.array_equal(there.rows(np.arange(9)), stored.rows(np.arange(9)))


def test_a_screen_is_shown_by_its_sizes(screen):
    conditions, controls = len(screen.conditions), np.sum(screen.condition == 0)
    assert repr(screen) == f"Screen(600 cells, 60 genes, {conditions} conditions, control {controls})"


def test_means_are_by_condition_and_nan_without_cells(screen):
    cells = np.flatnonzero(screen.condition != 2)
    means = screen.means(cells)
    assert np.isnan(means[2]).all()
    assert np.allclose(means[5], screen.rows(np.flatnonzero(screen.condition == 5)).mean(0), atol=1e-5)


def test_what_does_not_fit_is_refused(screen):
    for wrong, message in (
        ({"genes": screen.genes[1:]}, r"values have shape \(600, 60\), not \(cells, genes\) \(600, 59\)"),
        ({"condition": screen.condition[1:]}, "condition has 599 entries for 600 cells"),
        ({"conditions": screen.conditions[1:]}, "condition 0 must be the control"),
        ({"genes": (*screen.genes[:-1], "T0")}, "gene 'T0' occurs twice"),
        ({"ids": (*screen.ids[:-1], "cell0")}, "cell 'cell0' occurs twice"),
    ):
        with pytest.raises(InputError, match=message):
            replace(screen, **wrong)
    with pytest.raises(InputError, match=r"2 of 3 genes are missing: 'T99'; did you mean"):
        screen.select(genes=["T1", "T99", "T98"])
    with pytest.raises(InputError, match=r"has log1p values only; raw counts must be kept in layers\['counts'\]"):
        replace(screen, library=None).counts(np.arange(2))


# ---- variable genes


def test_perturbed_genes_stay_whatever_their_dispersion(screen):
    perturbed = len(screen.perturbations)
    genes = variable_genes(screen, np.arange(len(screen)), perturbed + 5)
    assert set(screen.perturbations) <= set(genes)
    assert len(genes) == perturbed + 5
    assert list(genes) == [gene for gene in screen.genes if gene in set(genes)]
    assert variable_genes(screen, np.arange(len(screen)), perturbed) == tuple(
        gene for gene in screen.genes if gene in screen.perturbations
    )
    assert variable_genes(screen, np.arange(len(screen)), 60) == screen.genes
    for count in (perturbed - 1, 61):
        with pytest.raises(
            InputError, match=f"has 60 genes, .*; data.genes={count} must lie between {perturbed} and 60"
        ):
            variable_genes(screen, np.arange(len(screen)), count)
    with pytest.raises(InputError, match="no cells to choose"):
        variable_genes(screen, np.arange(0), 20)


def test_held_out_cells_have_no_say_in_variable_genes(screen):
    train = np.flatnonzero(screen.condition < 9)
    spoilt = screen.values.copy()
    spoilt[screen.condition >= 9] = np.random.default_rng(0).poisson(50, (int((screen.condition >= 9).sum()), 60))
    other = replace(screen, values=spoilt, library=spoilt.sum(1))
    count = len(screen.perturbations) + 8
    assert variable_genes(screen, train, count) == variable_genes(other, train, count)
    everyone = np.arange(len(screen))
    assert variable_genes(screen, everyone, count) != variable_genes(other, everyone, count)


def test_dispersion_is_standardised_among_genes_of_similar_mean():
    mean, variance = np.array([1.0, 1.01, 1.02, 9.0, 0.0]), np.array([1.0, 2.0, 4.0, 1.0, 0.0])
    found = normalised_dispersion(mean, variance)
    assert np.isclose(found[:3].mean(), 0)
    assert np.isclose(found[:3].std(ddof=1), 1)
    assert found[3] == 1  # alone in its bin
    assert np.isnan(found[4])  # never seen


@pytest.mark.long  # scanpy takes longer to import than all the rest together
def test_variable_genes_are_those_of_scanpy(screen):
    import anndata
    import scanpy

    big = simulate(CellSimulatorConfig(cells=5, controls=200))
    adata = anndata.AnnData(big.rows(np.arange(len(big))))
    table = scanpy.pp.highly_variable_genes(adata, flavor="seurat", n_top_genes=100, inplace=False)
    ours = normalised_dispersion(np.expm1(adata.X).mean(0), np.expm1(adata.X).var(0, ddof=1, dtype=np.float64))
    assert np.allclose(ours, table["dispersions_norm"], atol=1e-3, equal_nan=True)
    chosen = {gene for gene, yes in zip(big.genes, table["highly_variable"], strict=True) if yes}
    both = chosen | set(big.perturbations)
    assert set(variable_genes(big, np.arange(len(big)), len(both))) == both


# ---- matched controls


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), strata=st.integers(1, 4))
def test_a_control_shares_every_label(seed, strata):
    rng = np.random.default_rng(seed)
    screen = _labelled(rng.integers(0, 3, 200), *(rng.integers(0, strata, 200) for _ in range(3)))
    there = set(zip(*_codes(screen, screen.controls), strict=True))
    cells = np.array([c for c in range(200) if screen.condition[c] and tuple(_codes(screen, [c])[:, 0]) in there], int)
    controls = Controls(screen, cells, screen.controls, MatchingConfig())
    drawn = controls.match(cells, rng.random(len(cells)))
    assert (screen.condition[drawn] == 0).all()
    assert np.array_equal(_codes(screen, drawn), _codes(screen, cells))
    assert not controls.coarser


def test_every_control_of_a_stratum_is_drawn_equally():
    screen = _labelled(np.array([0, 0, 0, 0, 1, 0]), np.array([0, 1, 1, 1, 1, 0]))
    controls = Controls(screen, np.array([4]), screen.controls, MatchingConfig())
    uniforms = (np.arange(300) + 0.5) / 300
    drawn = controls.match(np.full(300, 4), uniforms)
    assert np.bincount(drawn, minlength=6).tolist() == [0, 100, 100, 100, 0, 0]
    with pytest.raises(ValueError, match="not among those"):
        controls.match(np.array([0]), np.array([0.5]))


def test_only_the_controls_given_are_drawn():
    screen = _labelled(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]))
    controls = Controls(screen, np.array([2, 3]), np.array([1, 2]), MatchingConfig())
    assert controls.match(np.array([2, 3]), np.array([0.0, 0.99])).tolist() == [1, 1]
    with pytest.raises(InputError, match="no control cells to match"):
        Controls(screen, np.array([2]), np.array([3]), MatchingConfig())


def test_a_stratum_without_controls_is_named_or_counted():
    cell_type, batch = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 2, 2])
    screen = _labelled(np.array([0, 0, 1, 1, 1]), cell_type, batch)
    perturbed = np.array([2, 3, 4])
    message = r"condition 'P1' has 1 cells but no controls in cell_type 'a1', batch 'b1'; matching.without="
    with pytest.raises(InputError, match=message):
        Controls(screen, perturbed, screen.controls, MatchingConfig())
    controls = Controls(screen, perturbed, screen.controls, MatchingConfig(without="coarser"))
    assert controls.coarser == {"cell_type": 1, "nothing": 2}
    assert controls.match(np.array([4, 4]), np.array([0.1, 0.9])).tolist() == [0, 1]


def _labelled(condition: np.ndarray, *labels: np.ndarray) -> Screen:
    """Cells without expression, with labels cell_type, batch, donor."""
    names = ("cell_type", "batch", "donor")
    columns = {
        name: Labels(tuple(f"{letter}{n}" for n in range(9)), codes)
        for name, letter, codes in zip(names, "abd", labels, strict=False)
    }
    done = [Condition(frozenset({Perturbation(f"P{n}")})) for n in range(1, 9)]
    return Screen(
        ids=tuple(map(str, range(len(condition)))),
        genes=("G",),
        conditions=(CONTROL, *done),
        condition=condition,
        values=np.zeros((len(condition), 1), np.float32),
        library=np.zeros(len(condition)),
        **columns,
    )


def _codes(screen: Screen, cells) -> np.ndarray:
    return np.stack([getattr(screen, name).codes[cells] for name in ("cell_type", "batch", "donor")])
