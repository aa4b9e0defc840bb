"""Rank perturbations by how close they bring cells to a goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.errors import InputError, did_you_mean
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
    """Rank candidates by score, best first: rank, condition, score, spread, low, high, effect, measured.

    candidates: names of conditions; None: all training perturbations and pairs of them. Candidates without a prediction
    come last, with a score of NaN. The score is that of the mean change. spread, low and high are its standard
    deviation and extremes over the members of an ensemble, NaN without one: they show how well seeds agree, not how
    accurate they are (see `calibrated`). effect: Euclidean length of the whole change, log1p units. measured: whether
    training has the condition. Raises InputError for an unknown gene, and as `predict_conditions` does.
    """
    from pandas import DataFrame, concat

    goal.score(np.zeros(len(train.genes)), train.genes)  # an unknown gene is an error before anything is predicted
    if candidates is not None:
        blocks: Iterator[PredictedConditions] = iter([predict_conditions(predict, train, candidates)])
    else:
        names = perturbation_names(train)
        sets = (frozenset(one) for size in (1, 2) for one in combinations(names, size))
        blocks = (predict_sets(predict, train, block) for block in iter(lambda: list(islice(sets, _AT_ONCE)), []))
    measured = set(train.perturbed)
    rows = []
    for predicted in blocks:
        change, members = predicted.prediction.change, predicted.prediction.members
        score = goal.score(change, train.genes)
        each = score[None] if members is None else goal.score(members, train.genes)
        rows.append(
            DataFrame(
                {
                    "condition": np.array(predicted.conditions, object),
                    "score": score,
                    "spread": spread(each, score),
                    "low": each.min(0) if len(each) > 1 else np.nan,
                    "high": each.max(0) if len(each) > 1 else np.nan,
                    "effect": np.linalg.norm(change, axis=1),
                    "measured": [one in measured for one in predicted.perturbed],
                }
            )
        )
    ranked = concat(rows).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked
