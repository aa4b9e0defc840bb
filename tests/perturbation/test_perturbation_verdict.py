"""The verdict: rows are compared over the same conditions, and say what their intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from perturbed_effects import drawn

from anyjepa.perturbation.scoring.baselines import additive, no_change, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.perturbation.scoring.verdict import contest, rival, verdict

MEAN = {"perturbed mean": perturbed_mean}


def compared(methods: dict[str, Fit], baselines: dict[str, Fit], doubles: int = 11) -> PerturbationResult:
    effects = [drawn(seed, doubles=doubles) for seed in range(2)]
    fits = {name: [fit] for name, fit in methods.items()}
    return evaluate_methods(effects, fits, "drawn", MEAN | baselines, shuffle=False, resamples=200)


def only(fit: Fit, share: int) -> Fit:
    """A method without predictions for all but every `share`th condition."""

    def fitted(train: Effects) -> Predict:
        predict = fit(train)

        def some(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            change = np.array(predict(perturbed, control))
            change[np.arange(len(change)) % share != 0] = np.nan
            return change

        return some

    return fitted


def test_means_and_difference_are_over_the_same_conditions():
    result = compared({"head": additive}, {"half": only(partial(additive, scale=0.7), 2)})
    pair = contest(result, result.row("half"))
    assert pair.difference.mean == pytest.approx(pair.means[0] - pair.means[1])
    assert pair.difference.repeats == result.row("half").metrics["l2"].repeats
    assert pair.reversed.difference.mean == pytest.approx(-pair.difference.mean)
    assert pair.reversed.reversed == pair


def test_the_rival_predicts_at_least_half_of_the_conditions():
    good_but_rare = {"rare": only(partial(additive, scale=0.95), 6), "fair": partial(additive, scale=0.5)}
    result = compared({"head": partial(additive, scale=0.9)}, good_but_rare)
    assert rival(result).name == "fair"


def test_a_method_that_is_better_is_to_be_used():
    result = compared({"head on PCA (50)": additive}, {"no change": no_change})
    found = verdict(result)
    assert found.use == "head on PCA (50)"
    assert found.sentences[0].startswith("Use the head on principal components: it beats perturbed mean")
    assert "95 % interval +" in found.sentences[0]


def test_without_a_clear_difference_the_simple_one_is_to_be_used():
    result = compared({"head on PCA (50)": partial(additive, scale=0.999)}, {"additive": additive})
    assert verdict(result).use == "additive"
    assert "no clear difference to the head" in str(verdict(result)) or "the head is worse" in str(verdict(result))


def test_what_is_no_better_than_the_mean_is_not_to_be_trusted():
    found = verdict(compared({"head on PCA (50)": perturbed_mean}, {}))
    assert found.use is None
    assert found.sentences[0].startswith("Trust no prediction here")


def test_no_change_is_not_something_to_use():
    found = verdict(compared({"head on PCA (50)": partial(additive, scale=-1)}, {"no change": no_change}))
    assert found.use is None
    assert "Trust no prediction here" in str(found)


def test_few_conditions_give_no_verdict():
    result = compared({"head on PCA (50)": additive}, {}, doubles=6)
    few = result.model_copy(
        update={
            "conditions": result.conditions[:3],
            "rows": tuple(
                row.model_copy(update={"scores": {name: of[:3] for name, of in row.scores.items()}})
                for row in result.rows
            ),
        }
    )
    assert verdict(few).use is None
    assert "No verdict" in str(verdict(few))
    assert "5 are needed" in str(verdict(few))


def test_an_encoder_is_compared_with_the_same_head_on_components():
    pca, pretrained = "head on PCA (50)", "head on pretrained (teacher)"
    for first, second in ((pca, pretrained), (pretrained, pca)):
        same = verdict(compared({first: additive, second: additive}, {}))
        assert "The pretrained encoder adds nothing here" in str(same)
        assert same.use == pca  # the simpler one
        worse = str(verdict(compared({first: additive, second: no_change}, {})))
        assert ("The pretrained encoder does harm" if first == pca else "The pretrained encoder helps") in worse
