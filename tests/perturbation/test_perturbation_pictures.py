"""Pictures of predictions and cells: from objects, from AnnData, and from the files that `perturb` writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write

from anyjepa import plot
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.export import to_anndata
from anyjepa.perturbation.predictions.predict import Measured, PredictedConditions
from anyjepa.perturbation.predictions.reading import read_predictions
from anyjepa.perturbation.scoring.effects import Prediction

GENES = tuple(f"gene{n}" for n in range(30))
RNG = np.random.default_rng(0)


@pytest.fixture
def predicted() -> PredictedConditions:
    """A known condition, whose changes were measured, and a new one with intervals."""
    change = np.stack([np.linspace(-1, 1, 30), np.r_[2.0, -3.0, np.full(28, 0.01)]])
    gap = np.array([[np.nan], [0.5]])
    measured = np.stack([change[0] + 0.1, np.full(30, np.nan)])
    return PredictedConditions(
        genes=GENES,
        conditions=("A", "A+B"),
        perturbed=(frozenset("A"), frozenset("AB")),
        control=np.full(30, 4.0),
        prediction=Prediction(change, change - gap, change + gap, why=["it was measured", ""], level=0.9),
        contexts=("T cell", "B cell"),
        label="cell_type",
        measured=Measured(measured, measured - 0.1, measured + 0.1),
    )


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A screen in which A raises gene3 and lowers gene5."""
    counts = RNG.poisson(5.0, (80, 30)).astype(np.float32)
    counts[40:, 3] += 40
    counts[40:, 5] = 0
    obs = pd.DataFrame({"perturbation": ["control"] * 40 + ["A"] * 40}, index=[f"cell{n}" for n in range(80)])
    path = tmp_path / "cells.h5ad"
    write(anndata.AnnData(counts, obs, pd.DataFrame(index=list(GENES))), path)
    return path


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_predictions_are_read_again_from_anndata_and_from_its_file(
    predicted: PredictedConditions, tmp_path: Path
) -> None:
    adata = to_anndata(predicted)
    adata.write_h5ad(tmp_path / "predicted.h5ad")
    for source in (adata, tmp_path / "predicted.h5ad", str(tmp_path / "predicted.h5ad")):
        again = read_predictions(source)
        assert again is not None
        assert again.names == predicted.names == ("A in T cell", "A+B in B cell")
        assert again.genes == predicted.genes
        np.testing.assert_allclose(again.prediction.change, predicted.prediction.change, atol=1e-6)
        np.testing.assert_allclose(again.prediction.low, predicted.prediction.low, atol=1e-6)
        np.testing.assert_allclose(again.expression, predicted.expression, atol=1e-5)
        assert again.measured is not None
        np.testing.assert_allclose(again.measured.change, predicted.measured.change, atol=1e-6)  # type: ignore[union-attr]
        with pytest.raises(InputError, match="'A in T cell' has no interval: it was measured"):
            plot.volcano(source, "A in T cell")


@pytest.mark.parametrize("level", ["high", float("nan")])
def test_a_level_that_is_not_a_number_is_unknown(predicted: PredictedConditions, tmp_path: Path, level) -> None:
    adata = to_anndata(predicted)
    assert (again := read_predictions(adata)) is not None
    assert again.prediction.level == 0.9
    adata.obs["level"] = level
    write(adata, tmp_path / "foreign.h5ad")
    empty = anndata.AnnData(np.zeros((0, 30)), adata.obs[:0], adata.var, layers={"change": np.zeros((0, 30))})
    for source in (adata, empty, tmp_path / "foreign.h5ad"):
        assert (again := read_predictions(source)) is not None
        assert again.prediction.level is None


def test_a_volcano_shows_the_genes_that_change_surely(predicted: PredictedConditions, cells: Path) -> None:
    axes = plot.volcano(to_anndata(predicted), "A+B in B cell").axes[0]
    assert axes.get_ylabel() == "|change| in half-widths of its 90 % interval"
    assert {"gene0", "gene1"} <= {text.get_text() for text in axes.texts}
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(points[:2], [[2, 4], [-3, 6]], rtol=1e-5)  # |change| in half-widths of 0.5
    measured = plot.volcano(cells, "A").axes[0]
    assert "40 and 40 cells" in measured.get_ylabel()
    assert {"gene3", "gene5"} <= {text.get_text() for text in measured.texts}


def test_small_p_values_are_not_rounded_to_zero() -> None:
    """Complete separation of 300 and 300 cells: z = sqrt(3 * 300 * 300 / 601) = 21.2, so p is about 1e-99."""
    counts = RNG.poisson(5.0, (600, 30)).astype(np.float32)
    counts[300:, 3] += 1000
    obs = pd.DataFrame({"perturbation": ["control"] * 300 + ["A"] * 300}, index=[f"cell{n}" for n in range(600)])
    figure = plot.volcano(anndata.AnnData(counts, obs, pd.DataFrame(index=list(GENES))), "A")
    assert (
        90 < max(part.get_offsets()[:, 1].max() for part in figure.axes[0].collections if len(part.get_offsets())) < 105
    )


def test_ranked_genes_have_the_largest_change_at_the_top(predicted: PredictedConditions, cells: Path) -> None:
    figure = plot.ranked_genes(predicted, "A+B in B cell", count=5)
    assert labels(figure)[:2] == ["gene1", "gene0"]
    assert len(labels(figure)) == 5
    assert figure.axes[0].get_ylim() == (4.6, -0.6)
    with_measured = plot.ranked_genes(to_anndata(predicted), "A in T cell")
    assert [text.get_text() for text in with_measured.axes[0].get_legend().get_texts()] == ["measured", "predicted"]
    assert set(labels(plot.ranked_genes(cells, "A", count=2))) == {"gene3", "gene5"}
    assert set(labels(plot.ranked_genes(anndata.read_h5ad(cells), "A", count=2))) == {"gene3", "gene5"}


def test_predicted_stands_against_measured(predicted: PredictedConditions, cells: Path) -> None:
    axes = plot.predicted_against_measured(to_anndata(predicted), "A in T cell").axes[0]
    x, y = axes.lines[1].get_data()
    np.testing.assert_allclose(np.asarray(x) - np.asarray(y), 0.1, atol=1e-5)
    with pytest.raises(InputError, match="was not measured"):
        plot.predicted_against_measured(predicted, "A+B in B cell")
    with pytest.raises(InputError, match="these are cells, not predictions"):
        plot.predicted_against_measured(cells, "A")
    with pytest.raises(InputError, match="no condition 'C'"):
        plot.ranked_genes(replace(predicted, measured=None), "C")
