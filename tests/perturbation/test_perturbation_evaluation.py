from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from perturbed_effects import by_hand, drawn

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.baselines import additive, gene_ridge, no_change, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict, Prediction
from anyjepa.perturbation.scoring.evaluate import CEILING, evaluate_methods
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import SIZES, PerturbationResult


def says(change: np.ndarray | Prediction) -> Fit:
    """A method that says the same whatever it is fitted to."""
    return lambda train: lambda perturbed, control: change


@pytest.fixture(scope="module")
def screens() -> list[Effects]:
    """The same doubles held out of two measurements."""
    return [drawn(seed) for seed in range(2)]


@pytest.fixture(scope="module")
def evaluated(screens) -> PerturbationResult:
    eight_tenths = [partial(additive, scale=0.8), partial(additive, scale=0.9)]
    return evaluate_methods(screens, {"0.8 and 0.9 x additive": eight_tenths}, "drawn doubles", resamples=200)


def test_rows_and_conditions(evaluated):
    assert [row.name for row in evaluated.rows[:3]] == [
        "0.8 and 0.9 x additive",
        "0.8 and 0.9 x additive, shuffled",
        "no change",
    ]
    assert evaluated.rows[-1].name == evaluated.ceiling == CEILING
    assert [row.control for row in evaluated.rows] == [False] + [True] * 9
    assert [row.fits for row in evaluated.rows] == [2] + [1] * 9
    assert {row.name: row.unanswered for row in evaluated.rows if row.unanswered} == {
        "ridge (G W P')": 12,
        "ridge on co-expression": 12,
    }
    assert [c.split for c in evaluated.conditions] == [0] * 6 + [1] * 6
    assert evaluated.conditions[6].perturbed == ("g0", "g1")
    assert sorted(c.size for c in evaluated.conditions) == sorted(SIZES * 4)
    assert all(set(row.metrics) == set(METRICS) for row in evaluated.rows)


def test_places_are_projections_on_the_axes_of_the_true_changes(screens, evaluated):
    true = np.concatenate([screen.held_out.change for screen in screens])
    predicted = np.concatenate(
        [
            np.mean([additive(s.train)(s.held_out.perturbed, s.held_out.control) * f for f in (0.8, 0.9)], axis=0)
            for s in screens
        ]
    )
    _, lengths, axes = np.linalg.svd(true, full_matrices=False)
    np.testing.assert_allclose(evaluated.places.explained, lengths[:2] ** 2 / (lengths**2).sum())
    for places, changes in ((evaluated.places.true, true), (evaluated.places.predicted, predicted)):
        np.testing.assert_allclose(np.abs(places), np.abs(changes @ axes[:2].T), atol=1e-3)
    one = evaluate_methods(
        [screens[0]], {"says": [says(np.full(screens[0].held_out.change.shape, np.nan))]}, "x", resamples=0
    )
    assert one.places.predicted == ((None, None),) * 6


def test_there_are_no_common_places_where_each_split_has_its_own_genes(screens):
    renamed = replace(screens[1], genes=tuple(f"other {gene}" for gene in screens[1].genes))
    assert (
        evaluate_methods([screens[0], renamed], {"nothing": [no_change]}, "x", resamples=0, shuffle=False).places
        is None
    )


def test_a_mean_is_over_conditions_and_seeds(evaluated):
    row = evaluated.rows[0]
    for name, found in row.metrics.items():
        known = [value for value in row.scores[name] if value is not None]
        assert found.repeats == len(known)
        assert found.mean == (pytest.approx(np.mean(known)) if known else None)
    assert row.metrics["coverage"].mean is None
    assert row.metrics["l2"].bootstrap[0] < row.metrics["l2"].mean < row.metrics["l2"].bootstrap[1]
    large = [value for value, c in zip(row.scores["l2"], evaluated.conditions, strict=True) if c.size == "large"]
    assert row.by_size["large"]["l2"].mean == pytest.approx(np.mean(large))


def test_what_a_good_method_reaches(evaluated):
    first, ceiling = evaluated.rows[0], evaluated.row(CEILING)
    assert first.normalised["l2"].mean > 0.9
    assert evaluated.row("perturbed mean").normalised["l2"].mean == 0
    assert ceiling.normalised["l2"].mean == pytest.approx(1)
    assert "coverage" in first.normalised
    assert first.normalised["coverage"].mean is None
    assert evaluated.row("perturbed mean").metrics["pearson_vs_mean"].mean == 0
    assert evaluated.row("no change").metrics["top20_mse"].mean == 1
    assert evaluated.row("no change").metrics["de_overlap"].mean == 0
    assert not evaluated.notices


def test_differences_are_paired_by_condition(evaluated):
    first, other = evaluated.rows[0], evaluated.row("additive")
    assert first.difference == {}
    gain = other.difference["l2"]
    pairs = np.subtract(first.scores["l2"], other.scores["l2"])
    assert gain.mean == pytest.approx(pairs.mean())
    spread = other.metrics["l2"].bootstrap
    assert gain.bootstrap[1] - gain.bootstrap[0] < 0.7 * (spread[1] - spread[0])  # what both share cancels


def test_one_condition_in_two_splits_is_drawn_at_once(screens):
    methods = {"nothing": [no_change]}
    once = evaluate_methods(screens[:1], methods, "", shuffle=False).rows[0].metrics["l2"]
    twice = evaluate_methods([screens[0]] * 2, methods, "", shuffle=False).rows[0].metrics["l2"]
    assert twice.repeats == 2 * once.repeats
    assert twice.bootstrap == pytest.approx(once.bootstrap)


def test_json_and_table(evaluated):
    assert PerturbationResult.model_validate_json(evaluated.model_dump_json()) == evaluated
    text = str(evaluated)
    assert "drawn doubles: predicted changes of means" in text
    assert "12 test conditions (6 names) in 2 splits; 30 genes." in text
    assert "ridge (G W P'): no prediction for 12 conditions." in text
    assert max(map(len, text.splitlines())) <= 80


def test_shuffled_conditions_fall_to_the_perturbed_mean():
    """The ridge finds a code that genes carry; with exchanged labels it finds nothing."""
    effects = [_coded(seed) for seed in range(4)]
    effects = [replace(e, conditions=tuple(f"{i}: {name}" for name in e.conditions)) for i, e in enumerate(effects)]
    found = evaluate_methods(effects, {"ridge, evaluated": [gene_ridge]}, "coded singles")
    exchanged = found.row("ridge, evaluated, shuffled").metrics
    assert found.rows[0].metrics["pearson_vs_mean"].mean > 0.5
    assert found.rows[0].metrics["discrimination"].mean > 0.8
    assert abs(exchanged["pearson_vs_mean"].mean) < 0.1
    assert abs(exchanged["discrimination"].mean - 0.5) < 0.1
    assert exchanged["l2"].mean >= found.row("perturbed mean").metrics["l2"].mean
    assert not found.notices


def test_a_method_that_does_as_well_on_shuffled_labels_has_a_notice(screens):
    found = evaluate_methods(screens, {"mean again": [perturbed_mean]}, "")
    assert found.notices[0].startswith(
        "NO CLEAR EFFECT OF CONDITIONS: mean again may be as good when fitted to shuffled"
    )


def _coded(seed: int) -> Effects:
    """Genes of six modules: what a perturbation does follows from the modules of both genes, alike both ways."""
    r = np.random.default_rng(seed)
    genes, module, between = 60, np.arange(60) % 6, r.normal(size=(6, 6))
    change = (between + between.T)[module[:40]][:, module] + r.normal(0, 0.3, (40, genes))
    names = tuple(f"g{i}" for i in range(genes))
    return Effects(
        genes=names,
        conditions=names[:40],
        perturbed=tuple(frozenset({name}) for name in names[:40]),
        mean=change + 3,
        control=np.full(genes, 3.0),
        count=np.full(40, 50),
        test=r.permutation(40) < 12,
    )


def test_intervals_and_cells_of_a_prediction(screens):
    effects = screens[0]
    true = effects.held_out.change
    cells = [effects.cells(name)[0] for name in effects.held_out.conditions]
    low, high = true - 1, np.where(np.arange(30) < 24, true + 1, true - 0.5)
    found = (
        evaluate_methods([effects], {"oracle": [says(Prediction(true, low, high, cells))]}, "", shuffle=False)
        .rows[0]
        .metrics
    )
    assert found["coverage"].mean == pytest.approx(0.8)
    assert (found["pearson_delta"].mean, found["l2"].mean) == pytest.approx((1, 0))
    assert (found["r2_variance"].mean, found["de_direction"].mean) == pytest.approx((1, 1))
    assert 0.95 < found["de_overlap"].mean <= 1  # a large change without significance can outrank one that has it
    assert found["energy_distance"].mean < 0  # the very same cells: below what other cells of it would have


def test_without_cells_there_is_no_ceiling():
    effects = by_hand({"a": [1.0, 2.0], "b": [2.0, 0.0], "a+b": [3.0, 3.0]}, {"a+b"})
    found = evaluate_methods([effects], {"1.1 x additive": [partial(additive, scale=1.1)]}, "")
    assert (found.ceiling, found.rows[0].normalised) == (None, {})
    one = found.rows[0].metrics
    assert one["discrimination"].mean is None  # a single test condition
    assert one["energy_distance"].mean is None
    assert one["l2"].bootstrap is None
    assert "Cells and intervals" not in str(found)


def test_conditions_that_their_own_cells_do_not_tell_apart_can_be_left_out():
    """Two conditions in which nothing happens, and two with an effect."""
    r = np.random.default_rng(0)
    names, effect = tuple("abcdef"), np.array([2.0, -2.0, 0.0, 0.0, 3.0, -3.0])
    cells = {
        name: 3 + r.normal(0, 0.5, (9, 40)) + (np.arange(40) < 8) * e for name, e in zip(names, effect, strict=True)
    }
    controls = 3 + r.normal(0, 0.5, (200, 40))
    effects = Effects(
        genes=tuple(f"g{i}" for i in range(40)),
        conditions=names,
        perturbed=tuple(map(frozenset, names)),
        mean=np.stack([one.mean(0) for one in cells.values()]),
        control=controls.mean(0),
        count=np.full(6, 9),
        test=np.arange(6) >= 2,
        cells=lambda name: (cells[name], controls),
    )
    found = evaluate_methods([effects], {"nothing": [no_change]}, "", shuffle=False, above="l2")
    assert ([c.name for c in found.conditions], found.left_out) == (["e", "f"], 2)
    assert found.row(CEILING).metrics["l2"].repeats == 2
    assert "Excluded: 2 with a ceiling no better than perturbed mean." in str(found)
    with pytest.raises(InputError, match="no metric 'discriminate'; did you mean 'discrimination'"):
        evaluate_methods([effects], {"nothing": [no_change]}, "", shuffle=False, above="discriminate")
    with pytest.raises(InputError, match="above: the half-split ceiling needs the cells"):
        evaluate_methods([replace(effects, cells=None)], {"nothing": [no_change]}, "", shuffle=False, above="l2")


def _cut(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
    return control[:, :1]


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda train: _cut, r"method 'm' predicts changes of shape \(6, 1\); \(6, 30\) is needed"),
        (
            says(np.where(np.arange(30) < 3, np.nan, np.ones((6, 30)))),
            r"not finite for condition 'g0\+g1'; return a whole row",
        ),
        (says(np.full((6, 30), np.inf)), "predicts a change that is not finite"),
        (says(Prediction(np.zeros((6, 30)), low=np.zeros(6))), r"predicts low of shape \(6,\)"),
        (
            says(Prediction(np.zeros((6, 30)), high=np.zeros((6, 30)))),
            "predicts only one end of its intervals",
        ),
        (says(Prediction(np.zeros((6, 30)), cells=[])), "predicts cells for 0 of 6 conditions"),
    ],
)
def test_a_wrong_prediction_ends_in_one_line(screens, fit: Fit, message):
    with pytest.raises(InputError, match=message):
        evaluate_methods(screens[:1], {"m": [fit]}, "", shuffle=False)


def test_calls_that_make_no_sense(screens):
    fits: dict[str, list[Fit]] = {"m": [no_change]}
    with pytest.raises(InputError, match="at least one split and one method"):
        evaluate_methods([], fits, "")
    with pytest.raises(InputError, match="at least one split and one method"):
        evaluate_methods(screens, {"m": []}, "")
    with pytest.raises(InputError, match="no baseline 'perturbed-mean'; did you mean 'perturbed mean'"):
        evaluate_methods(screens, fits, "", baseline="perturbed-mean")
    with pytest.raises(InputError, match="method 'additive' has the name of a baseline"):
        evaluate_methods(screens, {"additive": [additive]}, "")


def test_a_method_is_shown_training_conditions_only(screens):
    def fit(train: Effects) -> Predict:
        assert not train.test.any()
        assert not any("+" in name for name in train.conditions)
        return lambda perturbed, control: np.zeros(control.shape)

    evaluate_methods(screens[:1], {"m": [fit]}, "", baselines={"perturbed mean": perturbed_mean})
