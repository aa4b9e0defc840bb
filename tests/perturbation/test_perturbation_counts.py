"""Predictions as counts and as AnnData."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.cells.files import CellFileConfig, from_anndata
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.counts import dispersions, expected_counts, sample_cells
from anyjepa.perturbation.predictions.export import cells_to_anndata, screen_to_anndata, to_anndata
from anyjepa.perturbation.predictions.predict import PredictedConditions
from anyjepa.perturbation.scoring.effects import Prediction

GENES = 40


def screened(cells: int = 300, share: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Control cells (m, G), log1p, whose panel has `share` of their counts, and their libraries."""
    r = np.random.default_rng(seed)
    library = np.rint(r.lognormal(np.log(20_000), 0.3, cells))
    rates = r.gamma(2, size=GENES)
    counts = r.poisson(library[:, None] * share * rates / rates.sum())
    return np.log1p(counts * 1e4 / library[:, None]), library


def answered(control: np.ndarray, seed: int = 1) -> PredictedConditions:
    change = 0.4 * np.random.default_rng(seed).normal(size=(2, GENES))
    genes = tuple(f"g{i}" for i in range(GENES))
    sets = (frozenset({"g0"}), frozenset({"g0", "g1"}))
    return PredictedConditions(genes, ("g0", "g0+g1"), sets, control, Prediction(change, change - 0.1, change + 0.2))


def test_expected_counts_undo_log1p_and_have_the_panels_share() -> None:
    controls, _ = screened()
    answer = answered(controls.mean(0))
    found = expected_counts(answer, controls, library=8000)
    np.testing.assert_allclose(found.sum(1), 8000 * np.expm1(controls).sum(1).mean() / 1e4)
    assert np.ptp(found / np.expm1(answer.expression), axis=1).max() < 1e-9  # one factor a condition
    still = replace(answer, prediction=Prediction(np.zeros((2, GENES))))
    measured = 8000 * np.expm1(controls).mean(0) / 1e4
    np.testing.assert_allclose(expected_counts(still, controls, 8000)[0], measured, rtol=0.05)


def test_drawn_cells_change_as_predicted_against_the_drawn_controls() -> None:
    controls, library = screened(2000)
    answer = answered(controls.mean(0))
    cells = sample_cells(answer, controls, library)
    assert cells.counts.shape == (6000, GENES)
    assert cells.counts.dtype == np.int32
    values = np.log1p(cells.counts * 1e4 / cells.library[:, None])
    of = {name: values[cells.condition == name].mean(0) for name in ("control", *answer.conditions)}
    for i, name in enumerate(answer.conditions):
        shift = of[name] - of["control"] - answer.prediction.change[i]
        assert np.abs(shift - shift.mean()).max() < 0.1  # all genes have to share the counts: one shift for all
    shares = cells.counts.sum(1) / cells.library
    assert shares.mean() == pytest.approx(np.expm1(controls).sum(1).mean() / 1e4, rel=0.01)


def test_drawn_cells_depend_on_the_seed_only() -> None:
    controls, library = screened(50)
    answer = answered(controls.mean(0))
    first, again, other = (sample_cells(answer, controls, library, cells=7, seed=seed) for seed in (3, 3, 4))
    assert first.condition.tolist() == ["control"] * 7 + ["g0"] * 7 + ["g0+g1"] * 7
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (first.counts != other.counts).any()


def overdispersed(cells: int, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `screened`, each gene with its own alpha."""
    r = np.random.default_rng(2)
    library = np.rint(r.lognormal(np.log(20_000), 0.3, cells))
    rates = r.gamma(2, size=GENES)
    mean = library[:, None] * 0.5 * rates / rates.sum()
    counts = r.poisson(mean * r.gamma(1 / alpha, alpha, (cells, GENES)))
    return np.log1p(counts * 1e4 / library[:, None]), library


def test_dispersions_are_found_and_are_none_where_counts_are_poisson() -> None:
    alpha = np.linspace(0.05, 0.6, GENES)
    found = dispersions(*overdispersed(4000, alpha))
    assert np.corrcoef(found, alpha)[0, 1] > 0.97
    assert np.median(found / alpha) == pytest.approx(1, abs=0.1)
    assert dispersions(*screened(4000)).max() < 0.01


def test_negative_binomial_cells_scatter_as_measured_ones() -> None:
    controls, library = overdispersed(3000, np.full(GENES, 0.3))
    answer = answered(controls.mean(0))
    drawn = {noise: sample_cells(answer, controls, library, noise=noise) for noise in ("poisson", "negative_binomial")}
    ratio = {}
    for noise, cells in drawn.items():
        values = np.log1p(cells.counts * 1e4 / cells.library[:, None])[cells.condition == "control"]
        np.testing.assert_allclose(np.expm1(values).mean(0), np.expm1(controls).mean(0), rtol=0.1)
        ratio[noise] = np.median(values.var(0) / controls.var(0))
    assert ratio["negative_binomial"] == pytest.approx(1, abs=0.06)
    moved = np.log1p(drawn["negative_binomial"].counts * 1e4 / drawn["negative_binomial"].library[:, None])
    of = {name: np.expm1(moved[drawn["negative_binomial"].condition == name]).mean(0) for name in ("control", "g0")}
    expected = np.expm1(np.maximum(controls + answer.prediction.change[0], 0)).mean(0)
    change = np.log(of["g0"] / of["control"]) - np.log(expected / np.expm1(controls).mean(0))
    assert np.abs(change - change.mean()).max() < 0.12  # one factor for all: the genes share a cell's counts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"controls": np.zeros((3, 2))}, r"shape \(3, 2\); it must be \(cells, 40 genes\)"),
        ({"controls": np.full((3, GENES), -1.0)}, "finite and not negative"),
        ({"controls": np.full((3, GENES), 9.0)}, "up to 324083 counts; pass log1p of counts per 10000"),
        ({"library": np.ones(2)}, "50 control cells need one library size"),
        ({"library": np.zeros(50)}, "one library size above 0 each"),
        ({"cells": 0}, "cells must be at least 1"),
        ({"noise": "poison"}, "unknown noise 'poison'; did you mean 'poisson'"),
    ],
)
def test_what_is_no_control(wrong, message) -> None:
    controls, library = screened(50)
    with pytest.raises(InputError, match=message):
        sample_cells(answered(controls.mean(0)), **{"controls": controls, "library": library} | wrong)


def test_a_cell_has_counts() -> None:
    controls, _ = screened(50)
    with pytest.raises(InputError, match="above 0 counts per cell, but is -1"):
        expected_counts(answered(controls.mean(0)), controls, -1)


def test_predictions_are_written_read_and_opened_by_scanpy(tmp_path: Path) -> None:
    import anndata
    import scanpy as sc

    controls, _ = screened()
    answer = answered(controls.mean(0))
    expected = expected_counts(answer, controls)
    to_anndata(answer, expected, {"method": "a head", "data": "drawn"}).write_h5ad(tmp_path / "found.h5ad")
    found = anndata.read_h5ad(tmp_path / "found.h5ad")
    np.testing.assert_allclose(found.X, answer.expression, rtol=1e-6)
    assert set(found.layers) == {"change", "low", "high", "counts"}
    np.testing.assert_allclose(found.layers["high"], answer.prediction.high, rtol=1e-6)
    assert found.obs.condition.tolist() == ["g0", "g0+g1"]
    assert found.obs.perturbations.tolist() == [1, 2]
    assert found.var_names.tolist() == list(answer.genes)
    assert found.uns["anyjepa"]["method"] == "a head"
    assert "natural" in found.uns["anyjepa"]["unit"] or "ln(" in found.uns["anyjepa"]["unit"]
    sc.pp.pca(found, n_comps=1)
    assert found.obsm["X_pca"].shape == (2, 1)
    with pytest.raises(InputError, match=r"counts have shape \(1, 40\)"):
        to_anndata(answer, expected[:1])


def test_drawn_cells_are_ranked_by_scanpy_and_are_a_screen_again(tmp_path: Path) -> None:
    import anndata
    import scanpy as sc

    controls, library = screened()
    answer = answered(controls.mean(0))
    cells = sample_cells(answer, controls, library, cells=100)
    cells_to_anndata(cells).write_h5ad(tmp_path / "cells.h5ad")
    found = anndata.read_h5ad(tmp_path / "cells.h5ad")
    sc.tl.rank_genes_groups(found, "condition", reference="control", method="wilcoxon")
    first = found.uns["rank_genes_groups"]["names"]["g0"][0]
    assert first in [answer.genes[i] for i in np.argsort(-answer.prediction.change[0])[:5]]
    again = from_anndata(found, CellFileConfig(quality=QualityConfig(min_genes=0, min_cells=0)))
    assert [str(one) for one in again.conditions] == ["control", "g0", "g0+g1"]
    np.testing.assert_array_equal(again.counts(np.arange(len(again))), cells.counts)


def test_a_simulated_screen_is_read_again_from_anndata() -> None:
    screen = simulate(CellSimulatorConfig(genes=20, regulators=5, singles=5, doubles=2, cells=30, controls=30))
    again = from_anndata(screen_to_anndata(screen), CellFileConfig(quality=QualityConfig(min_genes=0, min_cells=0)))
    names = [[str(one.conditions[number]) for number in one.condition] for one in (screen, again)]
    assert names[0] == names[1]
    assert again.cell_type is not None
    assert again.cell_type.names == ("state0", "state1")
    np.testing.assert_array_equal(again.counts(np.arange(100)), screen.counts(np.arange(100)))
