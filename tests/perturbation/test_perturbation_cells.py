from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.perturbation.scoring.metrics import (
    between,
    cell_metrics,
    changed_genes,
    discrimination,
    distance,
    energy_distance,
    measure,
    overlap,
    pearson,
    within,
)


def test_energy_distance_by_hand():
    x, y = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    assert within(x) == pytest.approx(5)
    assert between(x, y) == pytest.approx((0 + 1 + 5 + np.sqrt(18)) / 4)
    assert energy_distance(x, y) == pytest.approx((6 + np.sqrt(18)) / 2 - 5 - 1)
    assert np.isnan(energy_distance(x[:1], y))


def test_energy_distance_is_unbiased():
    r = np.random.default_rng(0)
    same = [energy_distance(*r.normal(3, 1, (2, 5, 4))) for _ in range(500)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(500)
    assert min(same) < 0


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-100, 100))
@settings(deadline=None, max_examples=20)
def test_energy_distance_does_not_depend_on_the_origin(seed, shift):
    x, y = np.random.default_rng(seed).normal(size=(2, 6, 3))
    assert energy_distance(x + shift, y + shift) == pytest.approx(energy_distance(x, y), abs=1e-9)
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x), abs=1e-12)


def cells(change: np.ndarray, seed: int, n: int = 60) -> np.ndarray:
    return 2 + change + np.random.default_rng(seed).normal(0, 0.3, (n, len(change)))


CHANGE = np.array([0.0, 2.0, 0.0, -1.0, 0.0, 0.5])


def test_changed_genes_are_those_that_changed():
    assert changed_genes(cells(CHANGE, 0), cells(0 * CHANGE, 1)).tolist() == [1, 3, 5]
    assert not len(changed_genes(cells(0 * CHANGE, 0), cells(0 * CHANGE, 1)))
    constant = np.ones((20, 3))
    assert not len(changed_genes(constant, constant))


def test_overlap_by_hand():
    measured = measure(cells(CHANGE, 0), cells(0 * CHANGE, 1))
    assert overlap(CHANGE, measured) == (1, 1)
    assert overlap(-CHANGE, measured) == (1, 0)
    assert overlap(np.array([0, 1.0, 2.0, -1.0, 0, -0.1]), measured) == (2 / 3, 2 / 3)  # names genes 2, 1, 3
    assert overlap(np.array([0, 1.0, 0, 0, 0, 0]), measured) == (1 / 3, 1 / 3)
    assert overlap(0 * CHANGE, measured) == (0, 0)
    assert overlap(np.array([0, 0, 0, -1.0, 0, 0]), measured, most=1) == (0, 0)
    unchanged = measure(cells(0 * CHANGE, 0), cells(0 * CHANGE, 1))
    assert np.isnan(overlap(CHANGE, unchanged)).all()


def test_a_predicted_mean_moves_the_controls():
    measured = measure(cells(CHANGE, 0), cells(0 * CHANGE, 1))
    moved, told = cell_metrics(CHANGE, None, measured), cell_metrics(CHANGE, measured.controls + CHANGE, measured)
    assert moved == pytest.approx(told)
    assert abs(moved["energy_distance"]) < 0.1
    assert cell_metrics(0 * CHANGE, None, measured)["energy_distance"] == pytest.approx(
        energy_distance(measured.controls, measured.cells)
    )
    assert cell_metrics(CHANGE, measured.cells, measured)["r2_variance"] == pytest.approx(1)
    assert np.isnan(cell_metrics(CHANGE, measured.cells[:1], measured)["r2_variance"])


@pytest.fixture(scope="module")
def reference(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "perturbation" / "cell_eval.npz") as stored:
        return dict(stored)


def groups(reference: dict[str, np.ndarray], which: str, sizes: str) -> list[np.ndarray]:
    return np.split(reference[which], np.cumsum(reference[sizes])[:-1])


def test_metrics_agree_with_cell_eval(reference):
    control = reference["control"]
    real, predicted = groups(reference, "real", "sizes"), groups(reference, "predicted", "predicted_sizes")
    true, told = (np.stack([x.mean(0) - control.mean(0) for x in of]) for of in (real, predicted))
    np.testing.assert_allclose(pearson(told, true), reference["pearson_delta"], atol=1e-6)
    np.testing.assert_allclose(distance(told, true) ** 2 / 40, reference["mse_delta"], atol=1e-6)
    ranks = (1 - reference["discrimination_l2"]) * 5
    assert ranks.any()
    np.testing.assert_allclose(discrimination(told, true), 1 - ranks / 4)

    def biased(x: np.ndarray) -> float:
        return energy_distance(x, control) + within(x) / len(x) + within(control) / len(control)

    found = np.corrcoef([biased(x) for x in real], [biased(x) for x in predicted])[0, 1]
    assert found == pytest.approx(float(reference["edistance"]), abs=1e-6)
    for i, (cells, change) in enumerate(zip(real, told, strict=True)):
        measured = measure(cells, control)
        assert set(measured.changed) == set(np.flatnonzero(reference["fdr"][i] < 0.05))
        assert overlap(change, measured) == pytest.approx(
            (reference["overlap_at_n"][i], reference["direction_match"][i]), abs=1e-6
        )
        assert overlap(change, measured, most=5)[0] == pytest.approx(reference["overlap_at_5"][i])
