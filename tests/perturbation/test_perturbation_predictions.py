"""Tables, synergies and ranked candidates, of changes that are known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from perturbed_effects import by_hand, drawn

from anyjepa.errors import InputError
from anyjepa.perturbation.methods.ensembles import calibrated, ensemble
from anyjepa.perturbation.predictions.predict import predict_conditions, table
from anyjepa.perturbation.predictions.ranking import Goal, rank_candidates
from anyjepa.perturbation.predictions.synergy import synergy
from anyjepa.perturbation.scoring.baselines import additive
from anyjepa.perturbation.scoring.effects import Prediction

CHANGES = {"a": [1.0, 0, 0], "b": [0, -2.0, 0.5], "c": [0, 0, 0], "a+c": [1, 0, 1]}
TRAIN = by_hand(CHANGES, set(), control=3.0).train


def predict(sets, control):
    """The measured change of one, .5 times the sum of several; nothing of d."""
    known = {name: np.array(change) for name, change in CHANGES.items() if len(name) == 1}
    rows = [
        sum(known[name] for name in one) * (0.5 if len(one) > 1 else 1) if one <= set(known) else np.full(3, np.nan)
        for one in sets
    ]
    return np.array(rows).reshape(control.shape)


def test_a_table_has_the_largest_change_first() -> None:
    change = np.array([[1.0, -3.0, 0.0]])
    answer = predict_conditions(lambda sets, control: Prediction(change, change - 1, change + 1), TRAIN, ["b + a"])
    np.testing.assert_array_equal(answer.expression, [[4, 0, 3]])
    found = table(answer)
    assert found.measured.isna().all()  # nobody measured a and b together
    assert found.drop(columns=[name for name in found if name.startswith("measured")]).to_dict("list") == {
        "condition": ["a+b"] * 3,
        "gene": ["b", "a", "c"],
        "log_fold_change": [-3, 1, 0],
        "low": [-3, 0, -1],  # the control has 3, and no expression is below 0
        "high": [-2, 2, 1],
        "rank": [1, 2, 3],
        "no_interval": ["the method gives none"] * 3,
    }
    assert "ln(counts per 10,000 + 1)" in found.attrs["unit"]
    assert table(predict_conditions(predict, TRAIN, ["a", "b"])).low.isna().all()


def test_a_method_gets_the_control_that_the_caller_passes() -> None:
    seen = []
    predict_conditions(
        lambda sets, control: seen.append(control) or np.zeros(control.shape), TRAIN, ["a", "b"], np.array([1.0, 2, 3])
    )
    np.testing.assert_array_equal(seen[0], [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(InputError, match=r"control has shape \(2,\); it must be \(3,\)"):
        predict_conditions(predict, TRAIN, ["a"], np.zeros(2))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([], "pass at least one condition"),
        (["a", "ctrl"], "'ctrl' is the control"),
        (["ctrl"], "'ctrl' is the control"),
        (["a+b", "b+a"], r"'a\+b' is listed twice"),
        (["a+"], "a name is empty"),
        (["a+aa"], "unknown perturbation 'aa'; nearest: a"),
        (["q"], "unknown perturbation 'q'; there are: a, b, c"),
    ],
)
def test_conditions_that_cannot_be_predicted(conditions, message) -> None:
    with pytest.raises(InputError, match=message) as raised:
        predict_conditions(predict, TRAIN, conditions)
    assert "\n" not in str(raised.value)


def test_a_method_without_a_prediction_is_an_error() -> None:
    with pytest.raises(InputError, match="the method has no prediction for condition 'a'"):
        predict_conditions(additive(TRAIN), TRAIN, ["a"])


def test_a_gene_that_was_never_perturbed_is_predicted_by_a_method_that_knows_it() -> None:
    wide = replace(TRAIN, genes=("a", "b", "z"))
    assert predict_conditions(lambda sets, control: np.zeros(control.shape), wide, ["z"]).conditions == ("z",)
    with pytest.raises(InputError, match="unknown perturbation 'z'"):
        predict_conditions(predict, wide, ["z"])


def test_synergy_is_what_the_sum_does_not_say() -> None:
    found = synergy(predict, TRAIN, ["a+b", "a+c"])
    of = found.scores.set_index("condition")
    total = np.sqrt(1 + 4 + 0.25)
    np.testing.assert_allclose(
        of.loc["a+b", ["sum", "norm", "projection", "share"]].astype(float), [total, total / 2, -total / 2, -0.5]
    )
    assert of.spread.isna().all()
    genes = found.genes[found.genes.condition == "a+b"].set_index("gene").log_fold_change
    assert genes.to_dict() == {"a": -0.5, "b": 1.0, "c": -0.25}


def test_parts_are_measured_where_training_has_them_and_else_predicted() -> None:
    train = replace(TRAIN, mean=TRAIN.mean + np.array([[0.5], [0], [0], [0]]))  # a was measured with another effect
    assert synergy(predict, train, ["a+b"]).scores.parts.tolist() == ["measured"]
    assert synergy(predict, train, ["a+b"]).scores["sum"][0] == pytest.approx(np.sqrt(1.5**2 + 1.5**2 + 1))
    told = synergy(predict, train, ["a+b"], parts="predicted").scores
    assert told.parts.tolist() == ["predicted"]
    assert told["sum"][0] == pytest.approx(np.sqrt(1 + 4 + 0.25))
    part = replace(train, test=np.array([True, False, False, False])).train
    assert synergy(predict, part, ["b+c", "a+b"]).scores.parts.tolist() == ["measured", "predicted"]


def test_synergy_moves_the_intervals_and_has_the_spread_of_the_members() -> None:
    effects = replace(drawn(doubles=11), test=np.arange(23) >= 20)
    fits = [lambda train, scale=scale: additive(train, scale) for scale in (0.9, 0.7)]
    fitted = calibrated(fits)(effects.train)
    found, told = synergy(fitted, effects.train, ["g9+g8"]), table(predict_conditions(fitted, effects.train, ["g9+g8"]))
    np.testing.assert_allclose((found.genes.high - found.genes.low).sort_values(), (told.high - told.low).sort_values())
    row = found.scores.iloc[0]
    assert row["share"] == pytest.approx(-0.2)
    assert row["spread"] == pytest.approx(0.1 * np.sqrt(2) * row["sum"])


def test_synergy_of_one_perturbation_is_refused() -> None:
    with pytest.raises(InputError, match="'a' is not a combination"):
        synergy(predict, TRAIN, ["a+b", "a"])


def test_a_screen_ranks_all_singles_and_pairs() -> None:
    found = rank_candidates(predict, TRAIN, Goal(up=("a",), down=("b",)))
    assert found.condition.tolist()[:3] == ["b", "a+b", "a"]
    assert found.score.tolist()[:3] == [1.0, 0.75, 0.5]
    assert len(found) == 6
    assert found["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.set_index("condition").measured.to_dict() == {n: n in CHANGES for n in found.condition}
    assert found.effect[0] == pytest.approx(np.sqrt(4.25))
    assert found.spread.isna().all()


def test_a_screen_toward_a_change() -> None:
    found = rank_candidates(predict, TRAIN, Goal(toward={"b": -1.0, "c": 0.25}), ["c", "b", "a+b", "a"])
    assert found.condition.tolist()[0] in ("b", "a+b")  # the same direction
    np.testing.assert_allclose(found.score, [1, 1, 0, 0])


def test_a_screen_tells_how_far_members_agree() -> None:
    fitted = ensemble([lambda train, scale=scale: additive(train, scale) for scale in (1.0, 0.5)])(TRAIN)
    found = rank_candidates(fitted, TRAIN, Goal(up=("a",))).set_index("condition")
    assert found.loc["a+b", "score"] == 0.75
    assert found.loc["a+b", ["low", "high"]].isna().all()  # how far members agree is not how right they are
    assert found.loc["a+b", "no_interval"] == "the method gives none"
    assert found.loc["a+b", "spread"] == pytest.approx(0.5 / np.sqrt(2))
    assert found.index[-3:].tolist() == ["a", "b", "c"]  # additive has no answer for them
    assert found.score[-3:].isna().all()


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({}, "either genes to go up or down, or a target change"),
        ({"up": ("a",), "toward": {"b": 1.0}}, "a goal needs either"),
        ({"up": ("a",), "down": ("a",)}, "gene 'a' occurs twice"),
        ({"toward": {"a": 0.0}}, "not 0 for all genes"),
        ({"toward": {"a": float("nan")}}, "must be finite"),
    ],
)
def test_no_goal(goal, message) -> None:
    with pytest.raises(InputError, match=message):
        Goal(**goal)


def test_a_goal_of_an_unknown_gene_names_the_nearest_before_anything_is_predicted() -> None:
    wide = replace(TRAIN, genes=("STAT1", "b", "c"))
    with pytest.raises(InputError, match="unknown gene 'STAT11'; did you mean 'STAT1'"):
        rank_candidates(lambda sets, control: pytest.fail("called"), wide, Goal(up=("STAT11",)))
