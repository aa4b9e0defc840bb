"""What doses, unseen compounds and later times are evaluated beside, on effects that are known."""

from __future__ import annotations

import numpy as np
import pytest

from anyjepa.data.cells.conditions import Condition, Perturbation
from anyjepa.data.cells.time_simulator import TimeSimulatorConfig, simulate_times
from anyjepa.perturbation.methods.compounds import Amount, compound_baselines, curve
from anyjepa.perturbation.methods.trajectories import TRAJECTORY_BASELINES, trajectory_effects
from anyjepa.perturbation.scoring.effects import Effects

BITS = {"a": (1, 1, 0, 0), "b": (0, 1, 1, 0), "c": (0, 0, 1, 1), "new": (1, 0, 0, 1)}  # new = a - b + c
FEATURES = {name: np.array(bits, float) for name, bits in BITS.items()}


def given(name: str, dose: float) -> Condition:
    return Condition(frozenset([Perturbation(name, "drug", dose)]))


def compounds() -> Effects:
    """Changes that are linear in the bits times log1p of the dose: ten genes, each bit with genes of its own."""
    weights = np.random.default_rng(0).normal(size=(4, 10))
    conditions = [given(name, dose) for name in BITS for dose in (1, 10, 100)]
    change = np.stack([np.log1p(dose) * np.array(BITS[name]) @ weights for name in BITS for dose in (1, 10, 100)])
    texts = tuple(map(str, conditions))
    return Effects(
        genes=tuple("abcdefghij"),
        conditions=texts,
        perturbed=tuple(frozenset([text]) for text in texts),
        mean=change,
        control=np.zeros(10),
        count=np.full(12, 5),
        test=np.array([text.startswith("new") for text in texts]),
    )


def test_ridge_on_features_and_dose_finds_what_is_linear_in_them():
    effects = compounds()
    fits = compound_baselines([str(given(name, dose)) for name in BITS for dose in (1, 10, 100)], FEATURES)
    test = effects.held_out
    found = fits["ridge on features x log dose"](effects.train)(test.perturbed, test.control)
    assert np.corrcoef(found.ravel(), test.change.ravel())[0, 1] > 0.99


def test_the_nearest_compound_answers_at_the_nearest_dose():
    effects = compounds()
    predict = compound_baselines(list(effects.conditions), FEATURES)["nearest compound"](effects.train)
    found = predict([frozenset(["new@30"]), frozenset(["a@1000"]), frozenset(["a@1", "b@1"])], np.zeros((3, 10)))
    at = effects.train.conditions.index
    np.testing.assert_array_equal(found[0], effects.train.change[at("a@10")])  # log1p 30 is nearer to 10 than to 100
    np.testing.assert_array_equal(found[1], effects.train.change[at("a@100")])
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("D3@10", ("D3", 10, None)),
        ("D3@0.5/24", ("D3", 0.5, 24)),
        ("IL2/6", ("IL2", None, 6)),
        ("A/B", ("A/B", None, None)),
    ],
)
def test_a_name_says_dose_and_time(name, amount):
    assert tuple(Amount.of(name)) == amount
    assert str(Amount.of(name)) == name


def test_a_curve_passes_through_what_was_measured_and_starts_at_no_change():
    effects = compounds()
    train = effects.train
    predict = curve(train)
    nothing = np.zeros((1, 10))
    for name, change in zip(train.conditions, train.change, strict=True):
        np.testing.assert_allclose(predict([frozenset([name])], nothing)[0], change)
    between = predict([frozenset(["a@30"])], nothing)[0]  # linear in log1p of the dose, as these effects are
    one = train.change[train.conditions.index("a@1")] / np.log1p(1)
    np.testing.assert_allclose(between, np.log1p(30) * one)
    np.testing.assert_allclose(predict([frozenset(["a@0.5"])], nothing)[0], np.log1p(0.5) * one)
    np.testing.assert_allclose(predict([frozenset(["a@1000"])], nothing), predict([frozenset(["a@100"])], nothing))
    for unknown in ({"new@10"}, {"a"}, {"a@1", "b@1"}):
        assert np.isnan(predict([frozenset(unknown)], nothing)).all()


@pytest.fixture(scope="module")
def trajectories():
    screen = simulate_times(TimeSimulatorConfig(genes=60, regulators=12, moved=8, cells=20))
    return screen, trajectory_effects(screen, test={6, 7})


def test_later_times_are_asked_from_the_last_trained_ones_of_each_lineage(trajectories):
    screen, effects = trajectories
    assert len(effects) == 6
    first = effects[0]
    assert first.held_out.conditions == ("A 3 to 6", "A 3 to 7")
    assert first.held_out.perturbed == (frozenset(["time/3"]), frozenset(["time/4"]))
    assert first.train.perturbed[0] == frozenset(["time/-3"])
    rows = np.flatnonzero((screen.condition == 3) & (screen.cell_type.codes == 0))
    np.testing.assert_array_equal(first.controls, screen.rows(rows))
    assert len({name for part in effects for name in part.conditions}) == 6 * 7


def test_a_straight_line_is_extrapolated(trajectories):
    part = trajectories[1][0]
    lags = np.array([-3, -2, -1, 1, 2, 3, 4])
    slope = np.arange(60.0)
    straight = Effects(
        genes=part.genes,
        conditions=part.conditions,
        perturbed=part.perturbed,
        mean=lags[:, None] * slope + 1,
        control=np.ones(60),
        count=part.count,
        test=part.test,
    )
    test = straight.held_out
    for name, slack in (("linear extrapolation", 0), ("mean change a unit of time", 0), ("no change", 1)):
        found = TRAJECTORY_BASELINES[name](straight.train)(test.perturbed, test.control)
        np.testing.assert_allclose(found, (1 - slack) * test.change)
