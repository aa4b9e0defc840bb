from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from perturbed_effects import by_hand, drawn

from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.effects import Effects, Predict, half_split, shuffled

TWO = {"a": [1.0, 0.0], "b": [0.0, 2.0]}


def test_change_is_the_mean_minus_the_matched_control():
    effects = by_hand(TWO, {"b"})
    np.testing.assert_allclose(effects.change, [[1, 0], [0, 2]])
    matched = replace(effects, control=np.array([[1.0, 1.0], [0.0, 0.0]]))  # b was measured in another batch
    np.testing.assert_allclose(matched.change, [[1, 0], [1, 3]])


def test_a_method_sees_nothing_of_the_test_conditions():
    effects = drawn()
    assert effects.train.conditions == tuple(f"g{i}" for i in range(12))
    assert not effects.train.test.any()
    assert effects.train.mean.shape == (12, 30)
    assert effects.held_out.perturbed[0] == {"g0", "g1"}
    assert effects.train.cells("g0")[0].shape == (40, 30)
    with pytest.raises(InputError, match=r"'g0\+g1' is not a training condition, so a method may not"):
        effects.train.cells("g0+g1")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"conditions": ("a", "a")}, "condition 'a' occurs twice"),
        ({"perturbed": (frozenset("a"), frozenset())}, "condition 'b' has no perturbation; pass the control as"),
        ({"perturbed": (frozenset("a"),)}, "perturbed has 1 sets for 2 conditions"),
        ({"mean": np.zeros((2, 3))}, r"mean has shape \(2, 3\); 2 conditions of 2 genes need \(2, 2\)"),
        ({"mean": np.array([[0, 1], [np.nan, 0]])}, "mean of condition 'b' is not finite"),
        ({"control": np.zeros(3)}, r"control has shape \(2, 3\)"),
        ({"test": np.array([0, 1])}, "boolean mask"),
    ],
)
def test_wrong_effects_end_in_one_line(wrong, message):
    with pytest.raises(InputError, match=message):
        replace(by_hand(TWO, {"b"}), **wrong)


def test_a_split_without_a_part():
    with pytest.raises(InputError, match="no test condition among 2"):
        _ = by_hand(TWO, set()).held_out
    with pytest.raises(InputError, match="no training condition among 2"):
        _ = by_hand(TWO, {"a", "b"}).train


def test_halves_are_disjoint_and_whole():
    effects = drawn(cells=7)
    truth, prediction = half_split(effects.held_out, seed=3)
    for i, name in enumerate(truth.conditions):
        told, kept, all_cells = prediction.cells[i], truth.cells(name)[0], effects.cells(name)[0]
        assert (len(told), len(kept), truth.count[i]) == (3, 4, 4)
        both = np.concatenate([told, kept])
        np.testing.assert_array_equal(both[np.argsort(both[:, 0])], all_cells[np.argsort(all_cells[:, 0])])
        np.testing.assert_allclose(prediction.change[i], told.mean(0) - effects.control[0])
        np.testing.assert_allclose(truth.change[i], kept.mean(0) - effects.control[0])
    np.testing.assert_array_equal(half_split(effects.held_out, seed=3)[1].change, prediction.change)
    assert not np.allclose(half_split(effects.held_out, seed=4)[1].change, prediction.change)


def test_halves_need_cells():
    with pytest.raises(InputError, match="needs the cells"):
        half_split(by_hand(TWO, {"b"}).held_out)
    with pytest.raises(InputError, match=r"condition 'g0\+g1' has 1 cells; the half-split ceiling needs at least 2"):
        half_split(drawn(cells=1).held_out)


def test_shuffled_labels_are_all_wrong_and_the_measurements_right():
    seen: list[Effects] = []

    def remember(train: Effects) -> Predict:
        seen.append(train)
        return lambda perturbed, control: np.zeros(control.shape)

    train = drawn().train
    for seed in range(5):
        shuffled(remember, seed)(train)
    for exchanged in seen:
        assert not any(own == other for own, other in zip(train.perturbed, exchanged.perturbed, strict=True))
        assert set(train.perturbed) == set(exchanged.perturbed)
        np.testing.assert_array_equal(train.mean, exchanged.mean)
    assert len({exchanged.perturbed for exchanged in seen}) == 5
    with pytest.raises(InputError, match="nothing to shuffle"):
        shuffled(remember)(replace(train, perturbed=(frozenset("a"),) * 12))
