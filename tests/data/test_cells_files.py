"""Screens from `.h5ad`: what is found, what is refused in one line, and what the report says."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write
from scipy import sparse

from anyjepa.data.cells.files import CellFileConfig, from_anndata, read_h5ad
from anyjepa.data.cells.matrix import BackedMatrix
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.errors import DataWarning, InputError

SMALL = CellSimulatorConfig(genes=60, regulators=12, singles=6, doubles=4, cells=30, controls=60)
LOOSE = CellFileConfig(quality=QualityConfig(min_genes=0))


@pytest.fixture(scope="module")
def simulated():
    return simulate(SMALL)


@pytest.fixture
def adata(simulated):
    """360 cells of 60 genes, raw counts as csr; columns perturbation, batch, cell_type."""
    names = [str(simulated.conditions[n]) for n in simulated.condition]
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(names),
            "batch": pd.Categorical.from_codes(rng.integers(0, 2, len(names)), ["b0", "b1"]),
            "cell_type": [f"state{code}" for code in simulated.cell_type.codes],
        },
        index=list(simulated.ids),
    )
    return anndata.AnnData(sparse.csr_matrix(simulated.values), obs, pd.DataFrame(index=list(simulated.genes)))


def log1p_of(matrix) -> sparse.csr_matrix:
    dense = matrix.toarray()
    return sparse.csr_matrix(np.log1p(10_000 * dense / dense.sum(1, keepdims=True)))


def test_a_column_of_matrices_is_refused(adata, tmp_path):
    write(adata, tmp_path / "screen.h5ad")
    with h5py.File(tmp_path / "screen.h5ad", "r+") as file:
        del file["obs/batch"]
        file.copy("X", "obs/batch")
    with pytest.raises(InputError, match=r"screen\.h5ad: obs: column 'batch' must hold one text or number per row"):
        read_h5ad(tmp_path / "screen.h5ad", LOOSE)


def test_elements_without_the_attributes_of_the_format_are_read(adata, simulated, tmp_path):
    write(adata, tmp_path / "screen.h5ad")
    with h5py.File(tmp_path / "screen.h5ad", "r+") as file:
        for name in ("obs/_index", "obs/batch/codes", "var/_index"):
            for key in ("encoding-type", "encoding-version"):
                del file[name].attrs[key]
    screen = read_h5ad(tmp_path / "screen.h5ad", LOOSE)
    assert (screen.ids, screen.genes) == (simulated.ids, simulated.genes)
    assert [screen.batch.names[code] for code in screen.batch.codes] == adata.obs["batch"].tolist()


@pytest.mark.parametrize("memory", ["load", "backed"])
@pytest.mark.parametrize("form", ["csr", "array"])
def test_a_file_is_read_as_it_was_written(adata, simulated, tmp_path, memory, form):
    if form == "array":
        adata.X = adata.X.toarray()
    write(adata, tmp_path / "screen.h5ad")
    screen = read_h5ad(
        tmp_path / "screen.h5ad", LOOSE.model_copy(update={"memory": memory, "perturbed_by": "knockdown"})
    )
    cells = np.arange(len(screen))
    assert isinstance(screen.values, BackedMatrix) == (memory == "backed")
    assert screen.report["values"] == {
        "kind": "counts",
        "from": "X",
        "declared": False,
        "stay_in_file": memory == "backed",
    }
    assert screen.ids == simulated.ids
    assert screen.genes == simulated.genes
    assert set(screen.conditions) == set(simulated.conditions)
    assert [screen.conditions[n] for n in screen.condition] == [simulated.conditions[n] for n in simulated.condition]
    assert np.allclose(screen.rows(cells), simulated.rows(cells), atol=1e-6)
    assert np.array_equal(screen.counts(cells), simulated.counts(cells))
    assert [screen.batch.names[code] for code in screen.batch.codes] == adata.obs["batch"].tolist()
    assert screen.donor is None
    assert json.loads(json.dumps(screen.report)) == screen.report


def test_from_memory_is_as_from_a_file(adata, tmp_path):
    write(adata, tmp_path / "screen.h5ad")
    there, here = read_h5ad(tmp_path / "screen.h5ad", LOOSE), from_anndata(adata, LOOSE)
    assert np.array_equal(there.rows(np.arange(9)), here.rows(np.arange(9)))
    assert there.report == here.report


def test_raw_counts_are_found_in_a_layer_or_in_raw(adata, simulated):
    cells = np.arange(len(simulated))
    logged = adata.copy()
    logged.layers["counts"] = adata.X.copy()
    logged.X = log1p_of(adata.X)
    found = from_anndata(logged, LOOSE)
    assert (found.report["values"]["from"], found.has_counts) == ("layers/counts", True)
    assert np.allclose(found.rows(cells), simulated.rows(cells), atol=1e-5)

    del logged.layers["counts"]
    columns = [30, 5, 7, 8, 9, 10]
    fewer = anndata.AnnData(logged.X[:, columns], logged.obs, logged.var.iloc[columns])
    fewer.raw = adata
    found = from_anndata(fewer, LOOSE)
    assert (found.report["values"]["from"], found.genes) == ("raw/X", tuple(fewer.var_names))
    assert np.allclose(found.rows(cells), simulated.rows(cells)[:, columns], atol=1e-5)  # all genes' library

    found = from_anndata(logged, LOOSE)
    assert (found.report["values"]["kind"], found.has_counts) == ("log1p", False)
    assert np.allclose(found.rows(cells), simulated.rows(cells), atol=1e-5)
    assert found.report["unlogged_total"]["50%"] == pytest.approx(10_000, rel=1e-3)
    with pytest.raises(InputError, match="AnnData: has log1p values only"):
        found.counts(cells)


def without(column: str, row: int = 7):
    """A change that takes away one cell's value."""
    return lambda a: a.obs.__setitem__(column, a.obs[column].where(np.arange(len(a)) != row))


def add(column: str, values: object = "x"):
    return lambda a: a.obs.insert(0, column, values)


def logged(factor: float):
    return lambda a: setattr(a, "X", log1p_of(a.X) * factor)


def value(place: int, number: float):
    return lambda a: a.X.data.__setitem__(place, number)


def renamed(a: anndata.AnnData) -> None:
    a.obs = a.obs.rename(columns={"perturbation": "what"})


def as_it_is(a: anndata.AnnData) -> None:
    pass


REFUSED = [
    (
        lambda a: a.obs.pop("perturbation"),
        {},
        r"pass --set condition=COLUMN; the columns are: batch, cell_type",
    ),
    (
        add("gene"),
        {},
        r"gene and perturbation could each be the condition; pass --set condition=gene or --set condition=pert",
    ),
    (
        lambda a: (add("gene")(a), add("replicate", ["r0", "r1", "r2"] * 120)(a)),
        {},
        r"each be the condition; pass .*perturbation; also: columns replicate and batch .* --set batch=replicate or",
    ),
    (
        add("replicate", ["r0", "r1", "r2"] * 120),
        {"control": "WT"},
        r"could each be the batch; pass --set batch=replicate or --set batch=batch; also: .* has the control 'WT'",
    ),
    (add("replicate", ["r0", "r1", "r2"] * 120), {}, r"columns replicate and batch could each be the batch"),
    (as_it_is, {"condition": "perturb"}, r"there is no column 'perturb' \(condition\); did you mean 'perturbation'"),
    (
        as_it_is,
        {"condition": "batch"},
        r"column 'batch' has no control such as .* pass --set control=NAME; the names, by number .* are: b\d, b\d",
    ),
    (as_it_is, {"control": "b9"}, r"column 'perturbation': no cell has the control 'b9'; there are: T0, T0\+T8, "),
    (as_it_is, {"values": "log1p"}, r"declared as log1p, but all are whole numbers; if they are counts, set"),
    (
        logged(1),
        {"values": "counts"},
        r"cell 'cell0', gene 'T\d+': value [\d.]+ is not a whole number, .* values=log1p",
    ),
    (value(0, 2.5), {}, r"X has both whole numbers and fractions, as corrected or estimated counts do; round them"),
    (lambda a: setattr(a, "X", a.X * 1.00001), {}, r"X has both whole numbers and fractions"),
    (logged(20), {}, r"value [\d.]+ is too large for log1p"),
    (value(0, -1), {}, r"cell 'cell0', gene 'T\d+': value -1 is negative"),
    (value(-1, np.nan), {}, r"cell 'cell359', gene 'G\d+': value nan is not finite"),
    (value(-1, np.inf), {}, r"value inf is not finite"),
    (value(-1, 1e30), {}, r"cell 'cell359', gene 'G\d+': value 1e\+30 is too large for a count"),
    (
        lambda a: a.var.insert(0, "symbol", "X"),
        {"gene_names": "symbol"},
        r"gene 'X' occurs 60 times \(symbol of var\)",
    ),
    (as_it_is, {"gene_names": "symbl"}, r"there is no column 'symbl' in var \(gene_names\); there are: index"),
    (as_it_is, {"matrix": "layers/count"}, r"there is no matrix 'layers/count'; there are: X"),
    (
        without("perturbation"),
        {},
        r"1 cells have no condition in column 'perturbation'; the first is 'cell7'; unassigned=skip",
    ),
    (without("batch"), {}, r"cell 'cell7' has no value in column 'batch'"),
    (add("dose", [1j] * 360), {}, r"column 'dose' holds complex numbers"),
    (add("dose", [np.inf] * 360), {}, r"column 'dose', cell 'cell0': is infinite; to ignore the column, pass"),
    (
        add("dose", ["high"] * 360),
        {},
        r"column 'dose', cell 'cell0': 'high' is not a number; to ignore the column, pass --set dose=none",
    ),
    (
        add("dose", ["100nM", "1 uM"] * 180),
        {},
        r"column 'dose' has values in several units, such as '100nM' and '1 uM'; write all in one unit; to ignore",
    ),
    (
        as_it_is,
        {"quality": {"min_genes": 200}},
        r"min_genes=200 removes 360 of 360 cells; the panel has 60 genes, and the median cell \d+ of them; set",
    ),
    (
        as_it_is,
        {"quality": {"min_genes": 0, "min_condition_cells": 100}},
        r"the control has \d+ cells, and quality.min_condition_cells is 100; pass",
    ),
    (
        as_it_is,
        {"quality": {"min_genes": 0, "min_condition_cells": 50}},
        r"the largest condition has \d+ cells, and quality.min_condition_cells is 50; pass --set .*=\d+ to keep it",
    ),
]


@pytest.mark.parametrize(("change", "settings", "message"), REFUSED, ids=[row[2][:40] for row in REFUSED])
def test_what_is_refused(adata, change, settings, message):
    change(adata)
    config = CellFileConfig.model_validate({"quality": {"min_genes": 0}, **settings})
    with pytest.raises(InputError, match=message):
        from_anndata(adata, config)


def test_what_is_no_h5ad_is_refused(tmp_path, adata):
    path = tmp_path / "screen.h5ad"
    with pytest.raises(InputError, match="there is no such file"):
        read_h5ad(path)
    path.write_text("Dear reader")
    with pytest.raises(InputError, match=r"screen.h5ad: is not an HDF5 file"):
        read_h5ad(path)
    adata.X = adata.X.tocsc()
    write(adata, path)
    assert read_h5ad(path, LOOSE).rows(np.arange(3)).shape == (3, 60)
    with pytest.raises(InputError, match=r"X is stored by genes \(csc\)"):
        read_h5ad(path, LOOSE.model_copy(update={"memory": "backed"}))
    with h5py.File(path, "a") as file:
        del file["X/data"]
    with pytest.raises(InputError, match="X cannot be read"):
        read_h5ad(path, LOOSE)


def test_the_same_column_twice_is_not_ambiguous(adata):
    adata.obs["condition"] = adata.obs["perturbation"].astype(str)
    adata.obs["louvain"] = "1"
    assert from_anndata(adata, LOOSE).report["columns"]["cell_type"] == "cell_type"


@pytest.mark.parametrize("other", ["same cells by another name", "one value"])
def test_a_second_column_that_tells_no_more_is_not_asked_about(adata, other):
    """As in collections of screens, which have the cell line next to the type of its cells."""
    codes = pd.factorize(adata.obs["cell_type"])[0]
    adata.obs.insert(0, "cell_line", [("K562", "A549")[code] if other.startswith("same") else "K562" for code in codes])
    column = from_anndata(adata, LOOSE).report["columns"]["cell_type"]
    assert column == ("cell_line" if other.startswith("same") else "cell_type")


@pytest.mark.parametrize("texts", [["0.5", "1.5"], ["0.5 uM", "1.5 uM"], ["0.5h", "1.5h"], ["5e-1mg/kg", "1.5mg/kg"]])
def test_doses_may_have_a_unit(adata, texts):
    control = adata.obs["perturbation"] == "control"
    adata.obs["dose"] = np.where(control, "", np.array(texts)[np.arange(360) % 2])
    screen = from_anndata(adata, CellFileConfig(quality=QualityConfig(min_genes=0, min_condition_cells=10)))
    assert {one.dose for c in screen.conditions for one in c} == {0.5, 1.5}


def test_log_values_of_raw_are_read_where_x_was_scaled(adata):
    logged = adata.copy()
    logged.X = log1p_of(adata.X)
    scaled = logged.copy()
    scaled.X = np.asarray(logged.X - logged.X.mean(0))
    scaled.raw = logged
    screen = from_anndata(scaled, LOOSE)
    assert (screen.report["values"]["from"], screen.has_counts) == ("raw/X", False)
    np.testing.assert_allclose(screen.rows(np.arange(360)), logged.X.toarray(), atol=1e-6)


@pytest.mark.parametrize("layer", ["counts", "raw_counts", "UMIs"])
def test_counts_are_found_in_layers_with_usual_names(adata, layer):
    logged = adata.copy()
    logged.layers["spliced"], logged.layers[layer] = adata.X * 2, adata.X.copy()
    logged.X = log1p_of(adata.X)
    assert from_anndata(logged, LOOSE).report["values"]["from"] == f"layers/{layer}"


@pytest.mark.parametrize("column", ["gene_name", "Symbol", "gene_short_name", "feature_name"])
def test_ensembl_ids_are_read_as_symbols(adata, simulated, column):
    adata.var[column] = adata.var_names
    adata.var.index = [f"ENSG{number:011d}" for number in range(60)]
    assert from_anndata(adata, LOOSE).genes == simulated.genes
    assert from_anndata(adata, LOOSE.model_copy(update={"gene_names": "index"})).report["perturbed_not_in_panel"]


def test_pairs_by_underscore_are_pairs_where_both_are_genes(adata, simulated):
    adata.obs["perturbation"] = adata.obs["perturbation"].astype(str).str.replace("+", "_")
    assert {c.names for c in from_anndata(adata, LOOSE).conditions} == {c.names for c in simulated.conditions}
    adata.obs["perturbation"] = adata.obs["perturbation"].str.replace(r"_T\d+", "_other", regex=True)
    with pytest.warns(DataWarning, match="although 'other' is not a gene of the panel"):
        from_anndata(adata, LOOSE)


def test_dose_and_time_tell_conditions_apart(adata):
    adata.obs["dose"] = np.where(adata.obs["perturbation"] == "control", np.nan, np.arange(360) % 2 + 0.5)
    adata.obs["time"] = "24"
    screen = from_anndata(adata, CellFileConfig(quality=QualityConfig(min_genes=0, min_condition_cells=10)))
    assert len(screen.conditions) == 1 + 2 * 10
    assert {(one.dose, one.time) for c in screen.conditions for one in c} == {(0.5, 24.0), (1.5, 24.0)}


def test_filters_leave_out_and_count(adata):
    adata.var.index = ["MT-CO1", *adata.var_names[1:]]
    names = adata.obs["perturbation"].astype(str).to_numpy()
    adata.obs["perturbation"] = np.where(names == "T0", "T1", names)  # T0 is no gene any more
    adata.X = adata.X.toarray()
    adata.X[:, 59] = 0
    adata.X[:2, 59] = 1  # seen in two cells
    adata.X[100:103, 0] = 10 * adata.X[100:103].sum(1)
    adata.X[200:205, 5:] = 0
    adata.X[200:205, 1:5] = 1
    few = names[-1]
    adata.obs["grna_top_frac"] = np.where((names == few) & (np.arange(360) % 3 > 0), 0.4, 0.9)
    screen = from_anndata(
        adata, CellFileConfig(quality=QualityConfig(min_genes=6, min_condition_cells=15, max_mito=0.5))
    )
    kept = np.array([int(id.removeprefix("cell")) for id in screen.ids])
    assert not set(kept) & {*range(100, 103), *range(200, 205)}
    assert (names[kept] != few).all()
    assert screen.report["left_out_cells"] == {
        "unassigned": 0, "min_guide_share": 20, "min_genes": 5, "max_mito": 3, "min_condition_cells": 10
    }  # fmt: skip
    assert screen.report["left_out_conditions"] == {few: 10}
    assert screen.report["left_out_genes"] == 1
    assert "G59" not in screen.genes
    assert len(screen) == 360 - 38
    assert screen.report["file"] == {"cells": 360, "genes": 60}
    assert screen.report["guide_share"]["0%"] == 0.9
    assert sum(screen.report["controls"].values()) == len(screen.controls)


def test_a_perturbed_gene_that_is_never_seen_stays(adata):
    adata.X = adata.X.toarray()
    target = next(iter(from_anndata(adata, LOOSE).perturbations))
    adata.X[:, adata.var_names.get_loc(target)] = 0
    assert target in from_anndata(adata, LOOSE).genes


def test_strata_without_controls_are_listed(adata):
    control = adata.obs["perturbation"] == "control"
    adata.obs["batch"] = np.where(control, "b0", adata.obs["batch"].astype(str))
    report = from_anndata(adata, LOOSE).report
    assert report["strata_without_controls"] == ["b1 x state0", "b1 x state1"]
    assert set(report["controls"]) == {f"b{b} x state{s}" for b in (0, 1) for s in (0, 1)}


def test_a_backed_file_stays_in_the_file(tmp_path):
    cells, genes = 40_000, 500
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((cells, genes), density=0.2, rng=rng, dtype=np.float32, format="csr")
    matrix.data = np.ceil(matrix.data * 5)
    names = np.array(["control", *(f"G{n}" for n in range(9))])[rng.integers(0, 10, cells)]
    obs = pd.DataFrame({"perturbation": pd.Categorical(names)}, index=[f"c{n}" for n in range(cells)])
    var = pd.DataFrame(index=[f"G{n}" for n in range(genes)])
    write(anndata.AnnData(sparse.csr_matrix(matrix), obs, var), tmp_path / "big.h5ad")
    size = matrix.nnz * 8
    del matrix
    config = CellFileConfig(memory="backed", quality=QualityConfig(min_genes=10))
    read_h5ad(tmp_path / "big.h5ad", config)  # what is imported and cached is not counted
    tracemalloc.start()
    screen = read_h5ad(tmp_path / "big.h5ad", config)
    screen.rows(rng.integers(0, len(screen), 256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * size, f"{peak / 1e6:.0f} MB for a matrix of {size / 1e6:.0f} MB"


def test_inspect_leaves_nothing_out_and_says_what_it_would(cli, adata, tmp_path):
    path = tmp_path / "screen.h5ad"
    target = next(name for name in adata.obs["perturbation"] if name in adata.var_names)
    adata.var.index = ["other" if gene == target else gene for gene in adata.var_names]
    adata.obs["perturbation"] = adata.obs["perturbation"].where(np.arange(360) != 359)
    write(adata, path)
    done = cli("data", "inspect", path, "--json")
    found = json.loads(done.out)
    assert (found["records"], found["left_out_cells"]["unassigned"], found["genes"]) == (359, 1, 60)
    assert found["outside_usual"]["min_genes"] == 0  # a small panel
    assert len(found["outside_usual"]["min_condition_cells"]) == 1
    assert found["perturbed_not_in_panel"] == [target]
    done = cli("data", "inspect", path, "--set", "batch=none", "--set", "perturbed_by=knockdown")
    assert done.code == 0, done.err
    for text in (
        "counts from X",
        "1 conditions have too few cells",
        "1 cells have no condition",
    ):
        assert text in done.out
    assert cli("data", "inspect", path, "--set", "bach=none").err.endswith(
        "unknown key 'bach'; did you mean 'batch'?\n"
    )
    assert "pass one screen at a time, not 2" in cli("data", "inspect", path, path).err
    assert "--set is for cells" in cli("data", "inspect", tmp_path, "--set", "batch=none").err


def test_cells_without_labels_are_left_out_where_those_without_conditions_are(adata):
    adata.obs["donor"] = ["d1", "d2", None, "d1"] * 90
    with pytest.raises(InputError, match=r"cell '.*' has no value in column 'donor'.*unassigned=skip"):
        from_anndata(adata, LOOSE)
    screen = from_anndata(adata, CellFileConfig(unassigned="skip", quality=QualityConfig(min_condition_cells=1)))
    assert screen.report["left_out_cells"]["unlabelled"] == 90
    assert screen.donor is not None
    assert screen.donor.names == ("d1", "d2")


def test_without_a_usual_name_the_condition_is_the_only_column_with_controls(adata):
    adata.obs = adata.obs.rename(columns={"perturbation": "stim"})
    adata.obs["state"] = ["good", "bad"] * 180
    assert from_anndata(adata, LOOSE).report["columns"]["condition"] == "stim"
    adata.obs["other"] = ["ctrl", "x"] * 180
    with pytest.raises(InputError, match="stim and other could each be the condition; pass --set condition=stim or"):
        from_anndata(adata, LOOSE)


@pytest.mark.parametrize(("panel", "least"), [(60, 3), (299, 14), (1999, 99), (2000, 200), (30_000, 200)])
def test_a_small_panel_needs_fewer_genes_per_cell(panel, least):
    assert QualityConfig().genes_needed(panel) == least
    assert QualityConfig(min_genes=7).genes_needed(panel) == 7


# ---- real files


@pytest.mark.realdata
def test_papalexi_2021(test_data: Path):
    path = test_data / "papalexi2021" / "papalexi2021.h5ad"
    assert read_h5ad(path).report["left_out_cells"]["min_genes"] == 0
    screen = read_h5ad(path, LOOSE.model_copy(update={"perturbed_by": "knockout"}))
    report = screen.report
    assert (report["file"], len(screen.conditions)) == ({"cells": 20729, "genes": 299}, 26)
    assert report["columns"] | {"x": None} == dict.fromkeys(report["columns"], None) | {
        "condition": "perturbation", "batch": "bio_rep", "guide_share": "grna_top_frac", "x": None
    }  # fmt: skip
    assert report["control_names"] == ["non-targeting"]
    assert report["left_out_cells"]["min_guide_share"] == 966
    assert len(set(screen.perturbations) & set(screen.genes)) == 9
    stat1 = screen.means()[[str(c) for c in screen.conditions].index("STAT1")] - screen.means()[0]
    assert stat1[screen.genes.index("UBE2L6")] < -0.8  # an interferon gene falls with STAT1


@pytest.mark.realdata
def test_kang_2018(test_data: Path):
    screen = read_h5ad(test_data / "kang2018" / "scgen_valid.h5ad")  # written before anndata 0.7
    assert screen.report["values"] == {"kind": "log1p", "from": "X", "declared": False, "stay_in_file": False}
    assert screen.report["file"] == {"cells": 1975, "genes": 6998}
    assert len(screen.cell_type.names) == 7
    assert [str(c) for c in screen.conditions] == ["control", "stimulated"]
    change = screen.means()[1] - screen.means()[0]
    assert "ISG15" in np.array(screen.genes)[np.argsort(-change)[:10]]  # interferon-stimulated


def test_cells_with_a_control_but_no_batch_leave_nothing(adata):
    adata.obs["batch"] = None
    with pytest.raises(InputError, match=r"no cell is left; all are unassigned, or below quality.min_guide_share"):
        from_anndata(adata, CellFileConfig(unassigned="skip", batch="batch"))
