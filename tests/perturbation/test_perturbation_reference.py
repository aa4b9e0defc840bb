"""The baselines on five simulated screens, against the values that the simulator's specification states."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from anyjepa.perturbation.scoring.baselines import gene_ridge
from anyjepa.perturbation.scoring.effects import Effects, half_split
from anyjepa.perturbation.scoring.evaluate import HeldOut, evaluate_methods
from anyjepa.perturbation.scoring.result import PerturbationResult

GENES, REGULATORS, SCREENS = 500, 60, 5


class Screen(NamedTuple):
    """Log expression of cells by condition; the first condition is the control, then 60 singles and 40 doubles."""

    knocked: list[frozenset[str]]
    cells: list[np.ndarray]
    singles: np.ndarray  # held out, of 60
    doubles: np.ndarray  # held out, of 40


def simulate(seed: int) -> Screen:
    """A network of saturating regulators, knocked down alone and in pairs; stress adds up over a cell's knockdowns."""
    r = np.random.default_rng(seed)
    weights = np.zeros((GENES, REGULATORS))
    for gene in range(1, GENES):
        candidates = min(gene, REGULATORS)
        inputs = min(candidates, 1 + r.poisson(2))
        chosen = r.choice(candidates, inputs, replace=False)
        weights[gene, chosen] = r.normal(0, 1.1, inputs)
    level = r.normal(0, 1, GENES) - 0.5
    loading = (r.random(GENES) < 0.1) * r.normal(0, 1, GENES)
    states = (r.random((2, GENES)) < 0.15) * r.normal(0, 0.8, (2, GENES))
    singles = [(int(k),) for k in r.permutation(REGULATORS)]
    doubles: set[tuple[int, ...]] = set()
    while len(doubles) < 40:
        doubles.add(tuple(sorted(r.choice(REGULATORS, 2, replace=False).tolist())))
    stress = 0.6 * r.lognormal(0, 0.5, REGULATORS)
    conditions = [(), *singles, *sorted(doubles)]
    cells = []
    for knocked in conditions:
        n, down = 80 if knocked else 1500, list(knocked)
        own, state = r.normal(0, 0.35, (n, REGULATORS)), r.integers(0, 2, n)
        log = level + states[state] + min(1.6, stress[down].sum()) * loading
        log[:, :REGULATORS] += own
        log[:, down] -= 2
        active = np.zeros((n, REGULATORS))
        for k in range(REGULATORS):
            log[:, k] += active @ weights[k]
            active[:, k] = np.tanh(0.8 * (log[:, k] - level[k]))
        log[:, REGULATORS:] += active @ weights[REGULATORS:].T
        share = np.exp(log)
        share /= share.sum(1, keepdims=True)
        counts = r.poisson(r.lognormal(np.log(4000), 0.35, n)[:, None] * share)
        cells.append(np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1)))
    r = np.random.default_rng(seed + 100)
    for one in cells:
        r.permutation(len(one))
    held_out = r.permutation(60)[:15], r.permutation(40)[:20]
    return Screen([frozenset(f"g{k}" for k in knocked) for knocked in conditions], cells, *held_out)


def effects(screen: Screen, number: int, doubles: bool) -> Effects:
    """All singles and half of the doubles for training, or 45 singles."""
    held_out = np.zeros(101 if doubles else 61, bool)
    held_out[61 + screen.doubles if doubles else 1 + screen.singles] = True
    kept = slice(1, len(held_out))
    names = tuple(f"{number}: {'+'.join(sorted(genes))}" for genes in screen.knocked[kept])
    cells = dict(zip(names, screen.cells[kept], strict=True))
    controls = screen.cells[0]
    return Effects(
        genes=tuple(f"g{i}" for i in range(GENES)),
        conditions=names,
        perturbed=tuple(screen.knocked[kept]),
        mean=np.stack([one.mean(0) for one in cells.values()]),
        control=controls.mean(0),
        count=np.array([len(one) for one in cells.values()]),
        test=held_out[kept],
        cells=lambda name: (cells[name], controls),
        controls=controls,
    )


@pytest.fixture(scope="session")
def screens() -> list[Screen]:
    return [simulate(seed) for seed in range(SCREENS)]


@pytest.fixture(scope="session")
def evaluated(screens) -> dict[bool, PerturbationResult]:
    """Of unseen singles and of unseen doubles; the cells would cost time and are evaluated elsewhere."""
    splits = {doubles: [effects(screen, i, doubles) for i, screen in enumerate(screens)] for doubles in (False, True)}
    return {
        doubles: evaluate_methods(
            [replace(one, cells=None) for one in of], {"ridge, evaluated": [gene_ridge]}, "five screens"
        )
        for doubles, of in splits.items()
    }


NAMES = ("pearson_delta", "pearson_vs_mean", "top20_mse", "discrimination", "l2")
# The specification fixes the screens, not the order in which cells are drawn. Eight other orders, the same screens and
# splits, move the means over five screens by standard deviations of .004, .008, -, -, .04 to .07 (means) and .12 (L2 of
# the ceiling, between halves); the two that were fitted move the ridges by half of these tolerances.
TOLERANCE = (0.02, 0.05, 0.03, 0.035, 0.3)
SINGLES = {
    "no change": (0, 0.081, 1, 0.50, 10.17),
    "perturbed mean": (0.700, 0, 0.511, 0.50, 7.07),
    "ridge (G W P')": (0.704, 0.261, 0.412, 0.649, 7.36),
    "ridge on co-expression": (0.712, 0.222, 0.435, 0.572, 7.09),
}
DOUBLES = {
    "no change": (0, -0.347, 1, 0.50, 15.16),
    "perturbed mean": (0.780, 0, 0.367, 0.50, 9.70),
    "matching mean": (0.946, 0.676, 0.195, 0.945, 7.18),
    "additive": (0.946, 0.854, 0.071, 0.996, 6.25),
    "0.7 x additive": (0.946, 0.840, 0.064, 0.994, 5.20),
}
CEILINGS = {False: (0.856, 0.714, 0.042, 0.997, 4.95), True: (0.943, 0.861, 0.016, 0.999, 4.61)}


@pytest.mark.long
@pytest.mark.parametrize(("doubles", "expected"), [(False, SINGLES), (True, DOUBLES)])
def test_baselines_have_the_stated_values(evaluated, doubles, expected):
    for name, values in expected.items():
        found = evaluated[doubles].row(name).metrics
        for metric, value, tolerance in zip(NAMES, values, TOLERANCE, strict=True):
            assert found[metric].mean == pytest.approx(value, abs=tolerance), (name, metric)


@pytest.mark.long
@pytest.mark.parametrize("doubles", [False, True])
def test_the_ceiling_has_the_stated_values(screens, doubles):
    found = []
    for i, screen in enumerate(screens):
        split = effects(screen, i, doubles)
        truth, prediction = half_split(split.held_out)
        scores = HeldOut(truth, split.train.change.mean(0), None).scores(prediction)
        found.append([scores[name].mean() for name in NAMES])
    for value, expected, tolerance in zip(np.mean(found, 0), CEILINGS[doubles], TOLERANCE, strict=True):
        assert value == pytest.approx(expected, abs=tolerance)


@pytest.mark.long
def test_shuffled_conditions_fall_to_the_perturbed_mean(evaluated):
    exchanged = evaluated[False].row("ridge, evaluated, shuffled").metrics
    assert exchanged["pearson_vs_mean"].mean == pytest.approx(0, abs=0.1)
    assert exchanged["discrimination"].mean == pytest.approx(0.5, abs=0.1)
    mean = evaluated[False].row("perturbed mean").metrics
    assert exchanged["pearson_delta"].mean <= mean["pearson_delta"].mean
    assert exchanged["l2"].mean >= mean["l2"].mean
    low, _ = evaluated[False].row("ridge, evaluated, shuffled").difference["pearson_vs_mean"].bootstrap
    assert low > 0
