"""Intervals from conditions that were left out: what they cover, what they are made of, where there are none."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from perturbed_effects import drawn

from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import UnseenCombination, split
from anyjepa.errors import InputError
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.ensembles import calibrated, ensemble
from anyjepa.perturbation.methods.head import HeadConfig, latent_head
from anyjepa.perturbation.scoring.baselines import additive, coexpression_ridge, gene_ridge, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.perturbation.scoring.metrics import coverage

TWO = [partial(additive, scale=scale) for scale in (1.0, 0.7)]


def pairs(train: int = 10, seed: int = 0) -> Effects:
    """Twelve singles and eleven doubles, of which `train` are for training."""
    whole = drawn(seed, doubles=11)
    return replace(whole, test=np.arange(len(whole.conditions)) >= 12 + train)


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    effects = pairs()
    asked = effects.held_out
    found = ensemble(TWO)(effects.train)(asked.perturbed, asked.control)
    each = [fit(effects.train)(asked.perturbed, asked.control) for fit in TWO]
    np.testing.assert_array_equal(found.members, each)
    np.testing.assert_allclose(found.change, np.mean(each, axis=0))
    with pytest.raises(InputError, match="at least one fit"):
        ensemble([])


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_intervals_cover_their_level_in_the_mean(level: float) -> None:
    """Screens of ten doubles to calibrate on, and ten others that the intervals are for."""
    found = []
    for seed in range(15):
        whole = drawn(seed, singles=21, doubles=20)
        effects = replace(whole, test=np.arange(41) >= 31)
        asked = effects.held_out
        prediction = calibrated(TWO, level, refits=2)(effects.train)(asked.perturbed, asked.control)
        assert prediction.level == level
        found.append(coverage(prediction.low, prediction.high, asked.change).mean())
    assert level - 0.03 < np.mean(found) < level + 0.06


def test_a_condition_is_left_out_of_what_calibrates_it() -> None:
    """A method that returns what it was fitted to, and else the mean, has errors as large as the changes."""

    def memory(train: Effects) -> Predict:
        seen = dict(zip(train.perturbed, train.change, strict=True))
        return lambda asked, control: np.stack([seen.get(one, np.zeros(control.shape[1])) for one in asked])

    effects = pairs()
    asked = effects.held_out
    prediction = calibrated([memory])(effects.train)(asked.perturbed, asked.control)
    assert coverage(prediction.low, prediction.high, asked.change).mean() > 0.7


def test_singles_are_left_out_with_every_condition_that_names_them() -> None:
    seen = []

    def method(train: Effects) -> Predict:
        seen.append(train)
        return perturbed_mean(train)

    effects = replace(drawn(doubles=6), test=np.arange(18) < 4)
    calibrated([method], folds=4)(effects.train)([frozenset({"g0"})], effects.control[:1])
    whole, parts = seen[0], seen[1:]
    assert len(parts) == 4
    hidden = [set(whole.conditions) - set(part.conditions) for part in parts]
    alone = [{name for name in out if "+" not in name} for out in hidden]
    assert sorted(name for out in alone for name in out) == sorted(f"g{i}" for i in range(4, 12))
    for out, names in zip(hidden, alone, strict=True):
        assert {name for name in whole.conditions if set(name.split("+")) & names} == out


def test_what_was_measured_or_has_no_answer_has_no_interval() -> None:
    effects = pairs()
    asked = [frozenset({"g0", "g5"}), frozenset({"g0", "g1"}), frozenset({"g0", "nowhere"})]
    found = calibrated(TWO, refits=2)(effects.train)(asked, np.ones((3, 30)))
    assert np.isfinite(found.low).all(1).tolist() == [True, False, False]
    assert np.isfinite(found.change).all(1).tolist() == [True, True, False]
    assert (found.low[0] < found.change[0]).all()
    assert (found.change[0] < found.high[0]).all()


def test_members_that_disagree_widen_the_interval() -> None:
    def doubtful(scale: float) -> Fit:
        """Errs by `scale` times the number of the last perturbation, in one direction or the other."""
        truth = drawn(doubles=11)
        known = dict(zip(truth.perturbed, truth.change, strict=True))

        def fit(train: Effects) -> Predict:
            return lambda sets, control: np.stack(
                [known[one] + scale * max(int(name[1:]) for name in one) for one in sets]
            )

        return fit

    effects = pairs(9)
    asked = effects.held_out
    found = calibrated([doubtful(0.1), doubtful(-0.08)], refits=2)(effects.train)(asked.perturbed, asked.control)
    width = (found.high - found.low).mean(1)
    assert width[1] > width[0]
    alike = calibrated([doubtful(0.1), doubtful(-0.08)])(effects.train)(asked.perturbed, asked.control)
    np.testing.assert_allclose((alike.high - alike.low)[0], (alike.high - alike.low)[1])


@pytest.mark.parametrize(
    ("fits", "train", "settings", "message"),
    [
        (TWO, 3, {}, r"80 % intervals for combinations need 4 of them .* there are 3, and it predicts 0"),
        (TWO, 10, {"level": 0.95}, r"95 % intervals for combinations need 19 of them .* there are 10"),
        (
            [lambda train: additive(train) if len(train.conditions) == 22 else gene_ridge(train)],
            10,
            {},
            "it predicts 0",
        ),
    ],
)
def test_too_little_to_calibrate_on(fits, train, settings, message) -> None:
    effects = pairs(train)
    found = calibrated(fits, **settings)(effects.train)(effects.held_out.perturbed, effects.held_out.control)
    assert np.isnan(found.low).all()
    assert np.isfinite(found.change).all()
    assert all(re.search(message, why) for why in found.why)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 1.0}, "level between 0 and 1"),
        ({"folds": 1}, "at least 2 folds"),
        ({"refits": 3}, "1 to 2 refits"),
    ],
)
def test_settings_that_make_no_sense(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        calibrated(TWO, **settings)


def test_contexts_are_left_out_whole_and_cover_new_ones() -> None:
    """One perturbation in contexts whose effects scatter: predicted in another one by the mean of the others."""
    covered = []
    for seed in range(20):
        r = np.random.default_rng(seed)
        control = r.normal(size=(12, 40))
        change = r.normal(size=40) + r.normal(0, 0.5, (12, 40))
        effects = Effects(
            genes=tuple(f"g{i}" for i in range(40)),
            conditions=tuple(f"stimulated in {i}" for i in range(12)),
            perturbed=(frozenset({"stimulated"}),) * 12,
            mean=control + change,
            control=control,
            count=np.full(12, 9),
            test=np.arange(12) >= 9,
        )
        new, known = effects.held_out, effects.train
        predict = calibrated([perturbed_mean])(known)
        found = predict(new.perturbed, new.control)
        assert set(found.why) == {""}
        covered.append(coverage(found.low, found.high, new.change).mean())
        again = predict(known.perturbed[:1], known.control[:1])
        assert (again.why, np.isnan(again.low).all()) == (("it was measured",), True)
    assert 0.75 < np.mean(covered) < 0.87
    few = replace(effects, test=np.arange(12) >= 3)
    found = calibrated([perturbed_mean])(few.train)(few.held_out.perturbed, few.held_out.control)
    assert "80 % intervals for contexts need 4 of them" in found.why[0]


def test_a_weighted_sum_of_changes_has_an_interval() -> None:
    """Of the mean of five genes, in screens with ten doubles to calibrate on and ten others."""
    weights, covered = np.zeros(30), []
    weights[:5] = 0.2
    for seed in range(15):
        whole = drawn(seed, singles=21, doubles=20)
        effects = replace(whole, test=np.arange(41) >= 31)
        new = effects.held_out
        predict = calibrated(TWO, refits=2)(effects.train)
        errors = np.abs((predict(new.perturbed, new.control).change - new.change) @ weights)
        covered += [
            predict.calibration(one, before).half_width_of(weights) >= error
            for one, before, error in zip(new.perturbed, new.control, errors, strict=True)
        ]
    assert 0.72 < np.mean(covered) < 0.92


def test_singles_are_calibrated_on_singles() -> None:
    effects = drawn(doubles=0, singles=16)
    asked = effects.held_out
    found = calibrated([coexpression_ridge])(effects.train)(asked.perturbed, asked.control)
    assert 0.6 < coverage(found.low, found.high, asked.change).mean() <= 1


@pytest.mark.long
def test_unseen_doubles_of_a_simulated_screen() -> None:
    """A smaller screen: 80 % intervals of 20 unseen doubles."""
    config = CellSimulatorConfig(genes=150, regulators=30, singles=30, doubles=40, cells=40, controls=300, seed=1)
    cells = simulate(config)
    effects = effects_of(cells, split(cells, UnseenCombination(test=0.5, validation=0.025), 1).conditions)
    asked = effects.held_out
    fits = [latent_head(lambda rows: rows, HeadConfig(steps=300), seed) for seed in range(2)]
    found = calibrated(fits, folds=3)(effects.train)(asked.perturbed, asked.control)
    assert 0.7 < coverage(found.low, found.high, asked.change).mean() < 0.9
