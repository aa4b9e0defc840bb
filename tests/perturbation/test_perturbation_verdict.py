"""The verdict: rows are compared over the same conditions, and say what their intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from perturbed_effects import drawn

from anyjepa.evaluation.intervals import Estimate
from anyjepa.perturbation.scoring.baselines import additive, no_change, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import MethodRow, PerturbationResult
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
    assert found.sentences[0].startswith("Use the head on principal components: it beats 'perturbed mean'")
    assert "95 % interval +" in found.sentences[0]


def test_without_a_clear_difference_the_simple_one_is_to_be_used():
    result = compared({"head on PCA (50)": partial(additive, scale=0.999)}, {"additive": additive})
    assert verdict(result).use == "additive"
    assert verdict(result).sentences[0].startswith("Use 'additive': it is simpler")


@pytest.mark.parametrize(
    ("mean", "ends", "outcome", "words"),
    [
        (0.004, (0.001, 0.007), "too small to matter", "it is simpler, and the head on principal components differs"),
        (-0.004, (-0.007, -0.001), "too small to matter", "components differs too little to matter (Pearson vs mean"),
        (0.004, (-0.001, 0.009), "no clear difference", "it is simpler, and the head on principal components is not"),
        (0.3, (-0.1, 0.7), "no clear difference", "components is not clearly better (Pearson vs mean"),
        (-0.3, (-0.5, -0.1), "worse", "Use 'additive': the head on principal components is worse"),
        (0.3, (0.1, 0.5), "better", "Use the head on principal components: it beats 'additive'"),
    ],
)
def test_a_clear_difference_may_be_too_small_to_matter(mean, ends, outcome, words):
    result = with_difference("pearson_vs_mean", mean, ends)
    assert contest(result, result.row("additive")).outcome == outcome
    assert words in str(verdict(result))


def test_a_difference_in_l2_that_excludes_0_is_not_called_unclear():
    said = str(verdict(with_difference("l2", -0.001, (-0.0012, -0.0008))))
    assert "In L2, the difference is clear, but too small to matter: difference -0.001" in said
    assert "In L2, there is no clear difference: difference -0.001" in str(
        verdict(with_difference("l2", -0.001, (-0.1, 0.1)))
    )


def test_a_baseline_that_is_not_above_the_mean_is_not_a_reason_to_doubt_the_head():
    result = with_difference("pearson_vs_mean", 0.3, (-0.1, 0.7))
    low = result.row("additive").metrics | {"pearson_vs_mean": Estimate(0.02, None, None, 22, (-0.4, 0.4))}
    result = replace_row(result, result.row("additive").model_copy(update={"metrics": low}))
    found = verdict(result)
    assert found.use == "head on PCA (50)"
    assert "it is clearly above the mean" in str(found)
    assert "'additive' is not (0.020, 95 % interval -0.400 to 0.400)" in str(found)
    close = result.row("no change").difference | {"pearson_vs_mean": Estimate(0.3, None, None, 22, (-0.1, 0.7))}
    found = verdict(replace_row(result, result.row("no change").model_copy(update={"difference": close})))
    assert found.use is None
    assert "Trust no prediction here: the head on principal components is not clearly better than 'no change'" in str(
        found
    )


def with_difference(metric: str, mean: float, ends: tuple[float, float]) -> PerturbationResult:
    """Additive against itself, with this difference in one metric."""
    result = compared({"head on PCA (50)": additive}, {"additive": additive, "no change": no_change})
    row = result.row("additive")
    changed = row.difference | {metric: Estimate(mean, None, None, 22, ends)}
    return replace_row(result, row.model_copy(update={"difference": changed}))


def replace_row(result: PerturbationResult, row: MethodRow) -> PerturbationResult:
    return result.model_copy(update={"rows": tuple(row if one.name == row.name else one for one in result.rows)})


def test_what_is_no_better_than_the_mean_is_not_to_be_trusted():
    found = verdict(compared({"head on PCA (50)": perturbed_mean}, {}))
    assert found.use is None
    assert found.sentences[0].startswith("Trust no prediction here")


def test_for_a_single_perturbation_the_mean_elsewhere_is_a_prediction():
    """In another donor, say: the perturbed mean is what the same perturbation does in the others."""
    result = compared({"head on PCA (50)": perturbed_mean}, {})
    same = tuple(one.model_copy(update={"perturbed": ("stimulated",)}) for one in result.conditions)
    mean = result.row("perturbed mean")
    for ends, use in (((0.8, 0.95), "perturbed mean"), ((-0.1, 0.3), None)):
        metrics = mean.metrics | {"pearson_delta": Estimate(0.9, None, None, 22, ends)}
        changed = replace_row(result, mean.model_copy(update={"metrics": metrics}))
        found = verdict(changed.model_copy(update={"conditions": same}))
        assert found.use == use
        assert ("the mean change of the same perturbation elsewhere (Pearson delta 0.900" in str(found)) == bool(use)
        assert verdict(changed).use is None  # of several perturbations, the mean tells none apart


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
