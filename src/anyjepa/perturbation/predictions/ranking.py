"""Rank perturbations by how close they bring cells to a goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.errors import InputError, did_you_mean
from anyjepa.perturbation.methods.ensembles import CalibratedPredict
from anyjepa.perturbation.predictions.predict import (
    PredictedConditions,
    perturbation_names,
    predict_conditions,
    predict_sets,
)
from anyjepa.perturbation.predictions.synergy import spread
from anyjepa.perturbation.scoring.effects import Effects, Predict

if TYPE_CHECKING:
    from pandas import DataFrame

_AT_ONCE = 512  # candidates whose changes are in memory together, each of all genes and members


@dataclass(frozen=True)
class Goal:
    """Genes that should go up or down, or a target change of expression. Raises InputError for none or both."""

    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    toward: Mapping[str, float] = field(default_factory=dict)
    """Target change by gene, in any unit: only its direction counts."""

    def __post_init__(self) -> None:
        if bool(self.up or self.down) == bool(self.toward):
            raise InputError("a goal needs either genes to go up or down, or a target change")
        if twice := [gene for gene in self.genes if self.genes.count(gene) > 1]:
            raise InputError(f"goal: gene '{twice[0]}' occurs twice")
        target = np.array(list(self.toward.values()), float)
        if not np.isfinite(target).all() or (self.toward and not target.any()):
            raise InputError("goal: the target change must be finite, and not 0 for all genes")

    @property
    def genes(self) -> tuple[str, ...]:
        return (*self.up, *self.down, *self.toward)

    def score(self, change: np.ndarray, genes: Sequence[str]) -> np.ndarray:
        """Scores (..) of changes (.., G). With `up` and `down`, the mean change in that direction, log1p units; with
        `toward`, the cosine over its genes, 0 for no change. Raises InputError for an unknown gene."""
        place = {gene: i for i, gene in enumerate(genes)}
        if missing := [gene for gene in self.genes if gene not in place]:
            raise InputError(f"goal: unknown gene '{missing[0]}'{did_you_mean(missing[0], genes)}")
        target = np.array([1.0] * len(self.up) + [-1.0] * len(self.down) + [*map(float, self.toward.values())])
        chosen = change[..., [place[gene] for gene in self.genes]]
        if not self.toward:
            return chosen @ target / len(target)
        length = np.linalg.norm(chosen, axis=-1)
        return chosen @ target / np.linalg.norm(target) / np.where(length == 0, np.inf, length)


def rank_candidates(predict: Predict, train: Effects, goal: Goal, candidates: Sequence[str] | None = None) -> DataFrame:
    """Rank candidates by score, best first.

    Columns: rank, condition, score, low, high, no_interval, spread, effect, measured, measured_score.
    candidates: names of conditions; None: all training perturbations and pairs of them. Candidates without a prediction
    come last, with a score of NaN. The score is that of the predicted mean change; low and high are its interval if the
    method is `calibrated` and the goal is genes to go up or down, and no_interval says why there is none. spread is the
    standard deviation over the members of an ensemble: it shows how well seeds agree, not how accurate they are.
    effect: Euclidean length of the whole change, log1p units. measured: whether training has the condition, and
    measured_score the score of its measured change. Raises InputError for an unknown gene, and as `predict_conditions`
    does.
    """
    from pandas import DataFrame, concat

    goal.score(np.zeros(len(train.genes)), train.genes)  # an unknown gene is an error before anything is predicted
    if candidates is not None:
        blocks: Iterator[PredictedConditions] = iter([predict_conditions(predict, train, candidates)])
    else:
        names = perturbation_names(train)
        sets = (frozenset(one) for size in (1, 2) for one in combinations(names, size))
        blocks = (predict_sets(predict, train, block) for block in iter(lambda: list(islice(sets, _AT_ONCE)), []))
    measured: dict[frozenset[str], list[np.ndarray]] = {}
    for one, change in zip(train.perturbed, train.change, strict=True):
        measured.setdefault(one, []).append(change)
    rows = []
    for predicted in blocks:
        change, members = predicted.prediction.change, predicted.prediction.members
        score = goal.score(change, train.genes)
        each = score[None] if members is None else goal.score(members, train.genes)
        half, why = _half_widths(predict, predicted, goal)
        true = [np.mean(measured[one], axis=0) if one in measured else None for one in predicted.perturbed]
        rows.append(
            DataFrame(
                {
                    "condition": np.array(predicted.conditions, object),
                    "score": score,
                    "low": score - half,
                    "high": score + half,
                    "no_interval": np.array(why, object),
                    "spread": spread(each, score),
                    "effect": np.linalg.norm(change, axis=1),
                    "measured": [one is not None for one in true],
                    "measured_score": [np.nan if x is None else float(goal.score(x, train.genes)) for x in true],
                }
            )
        )
    ranked = concat(rows).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def _half_widths(predict: Predict, predicted: PredictedConditions, goal: Goal) -> tuple[np.ndarray, list[str]]:
    """(T,) half the width of the interval of each score, and why there is none."""
    half, why = np.full(len(predicted.perturbed), np.nan), ["the method gives none"] * len(predicted.perturbed)
    if not isinstance(predict, CalibratedPredict):
        return half, why
    if goal.toward:
        return half, ["a cosine has none"] * len(why)
    place = {gene: i for i, gene in enumerate(predicted.genes)}
    weights = np.zeros(len(place))
    weights[[place[gene] for gene in goal.genes]] = np.array([1] * len(goal.up) + [-1] * len(goal.down)) / len(
        goal.genes
    )
    widths: dict[int, float] = {}  # by calibration, which all candidates of a kind share
    for row, (one, change) in enumerate(zip(predicted.perturbed, predicted.prediction.change, strict=True)):
        made = predict.calibration(one, predicted.control) if np.isfinite(change).all() else "there is no prediction"
        if isinstance(made, str):
            why[row] = made
        else:
            if id(made) not in widths:
                widths[id(made)] = made.half_width_of(weights)
            why[row], half[row] = "", widths[id(made)]
    return half, why
