"""The simulated screen: its published numbers at the level of baselines, its truth, its order of draws."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from pydantic import ValidationError

from anyjepa.data.cells import simulator
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate

SMALL = CellSimulatorConfig(genes=60, regulators=12, singles=10, doubles=6, cells=30, controls=120)

# Pearson of the change, Pearson against the perturbed mean, MSE on the top 20 over no change, discrimination, L2:
# means over five seeds, of an independent implementation of the same specification.
PUBLISHED = {
    "single no change": (0, 0.081, 1, 0.5, 10.17),
    "single perturbed mean": (0.700, 0, 0.511, 0.5, 7.07),
    "single half-split": (0.856, 0.714, 0.042, 0.997, 4.95),
    "double no change": (0, -0.347, 1, 0.5, 15.16),
    "double perturbed mean": (0.780, 0, 0.367, 0.5, 9.70),
    "double matching mean": (0.946, 0.676, 0.195, 0.945, 7.18),
    "double additive": (0.946, 0.854, 0.071, 0.996, 6.25),
    "double .7 additive": (0.946, 0.840, 0.064, 0.994, 5.20),
    "double half-split": (0.943, 0.861, 0.016, 0.999, 4.61),
}
TOLERANCE = (0.02, 0.035, 0.03, 0.02, 0.25)  # the seeds' own noise: networks differ


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL)


def test_baselines_are_as_hard_as_specified():
    with mock.patch.object(simulator, "TRUTH_CELLS", 1):  # the truth is drawn last, and not looked at
        found = [_baselines(seed) for seed in range(5)]
    for name, published in PUBLISHED.items():
        mean = np.mean([scores[name] for scores in found], 0)
        assert np.all(np.abs(mean - published) < TOLERANCE), f"{name}: {mean.round(3)} instead of {published}"


def test_the_sizes_are_as_specified():
    config = CellSimulatorConfig()
    assert config.controls + (config.singles + config.doubles) * config.cells == 9500
    assert (config.genes, config.regulators, config.depth, config.stress) == (500, 60, 4000, 0.6)


def test_the_truth_is_what_cells_are_on_average(small):
    deep = simulate(SMALL.model_copy(update={"depth": 1e6, "cells": 1000, "controls": 3000}))
    assert np.array_equal(deep.truth.shape, (17, 60))
    assert np.abs(deep.means() - deep.truth).max() < 0.15
    assert np.abs(deep.means() - deep.truth).mean() < 0.02
    changed = np.array([deep.truth[n, int(one.name[1:])] for n, c in enumerate(deep.conditions) for one in c])
    before = np.array([deep.truth[0, int(one.name[1:])] for c in deep.conditions for one in c])
    assert (changed < before - 0.5).mean() > 0.9  # a knocked-down gene falls


def test_the_screen_knows_what_was_done(small):
    assert [len(c) for c in small.conditions] == [0] + [1] * 10 + [2] * 6
    assert np.bincount(small.condition).tolist() == [120] + [30] * 16
    assert {one.kind for c in small.conditions for one in c} == {"knockdown"}
    assert set(small.perturbations) <= set(small.genes)
    assert np.array_equal(small.library, small.counts(np.arange(len(small))).sum(1))
    assert small.cell_type is not None
    assert small.batch is None


def test_the_same_seed_gives_the_same_screen_and_another_another(small):
    again, other = simulate(SMALL), simulate(SMALL.model_copy(update={"seed": 1}))
    assert np.array_equal(small.values, again.values)
    assert np.array_equal(small.truth, again.truth)
    assert not np.array_equal(small.values, other.values)


def test_batches_shift_genes_and_change_nothing_else(small):
    batched = simulate(SMALL.model_copy(update={"batches": 3, "batch_scale": 0.5}))
    assert batched.batch.names == ("batch0", "batch1", "batch2")
    assert np.abs(batched.truth - small.truth).max() < 0.15  # of other cells of the same law
    means = [batched.rows(np.flatnonzero(batched.batch.codes == b)).mean(0) for b in range(3)]
    assert np.abs(means[0] - means[1]).mean() > 0.1
    assert batched.conditions == small.conditions
    assert np.array_equal(batched.cell_type.codes, small.cell_type.codes)


@pytest.mark.parametrize("wrong", [{"singles": 61}, {"regulators": 501}, {"regulators": 3, "singles": 3, "doubles": 4}])
def test_more_than_there_can_be_is_refused(wrong):
    with pytest.raises(ValidationError, match="exceeds the maximum"):
        CellSimulatorConfig(**wrong)


def _baselines(seed: int) -> dict[str, list[float]]:
    """The scores of simple predictions on the held-out singles and doubles that the specification draws."""
    screen = simulate(CellSimulatorConfig(seed=seed))
    rng = np.random.default_rng(seed + 100)
    first = np.zeros(len(screen), bool)
    for number in range(len(screen.conditions)):
        cells = rng.permutation(np.flatnonzero(screen.condition == number))
        first[cells[: len(cells) // 2]] = True
    singles, doubles = 1 + rng.permutation(60)[:15], 61 + rng.permutation(40)[:20]
    mean, half, other = (screen.means(np.flatnonzero(cells)) for cells in (first | ~first, first, ~first))
    place = {str(condition): number for number, condition in enumerate(screen.conditions)}
    parts = np.array([[place[one.name] for one in screen.conditions[double]] for double in doubles])
    found = {}
    trained = np.setdiff1d(np.arange(1, 101), doubles)
    for name, test, train in (
        ("single", singles, np.setdiff1d(np.arange(1, 61), singles)),
        ("double", doubles, trained),
    ):
        reference = mean[train].mean(0)
        same = np.ones((len(test), 1))
        found[f"{name} no change"] = _scores(same * mean[0], mean, test, reference)
        found[f"{name} perturbed mean"] = _scores(same * reference, mean, test, reference)
        found[f"{name} half-split"] = _scores(half[test], other, test, reference)
    change = (mean[parts] - mean[0]).sum(1)
    found["double matching mean"] = _scores(mean[parts].mean(1), mean, doubles, mean[trained].mean(0))
    found["double additive"] = _scores(mean[0] + change, mean, doubles, mean[trained].mean(0))
    found["double .7 additive"] = _scores(mean[0] + 0.7 * change, mean, doubles, mean[trained].mean(0))
    return found


def _scores(predicted: np.ndarray, true: np.ndarray, test: np.ndarray, reference: np.ndarray) -> list[float]:
    change, wanted = predicted - true[0], true[test] - true[0]
    squares = ((predicted[:, None] - true[test]) ** 2).sum(-1)
    rank = (squares < np.diag(squares)[:, None]).sum(1)
    top = np.argsort(-np.abs(wanted), 1)[:, :20]
    error = np.take_along_axis((change - wanted) ** 2, top, 1).mean(1)
    return [
        np.mean([_pearson(a, b) for a, b in zip(change, wanted, strict=True)]),
        np.mean([_pearson(a, b) for a, b in zip(predicted - reference, true[test] - reference, strict=True)]),
        np.mean(error / np.take_along_axis(wanted**2, top, 1).mean(1)),
        0.5 if np.ptp(predicted, 0).max() == 0 else 1 - rank.mean() / (len(test) - 1),
        np.linalg.norm(change - wanted, axis=1).mean(),
    ]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return 0.0 if min(a.std(), b.std()) < 1e-9 else float(np.corrcoef(a, b)[0, 1])
