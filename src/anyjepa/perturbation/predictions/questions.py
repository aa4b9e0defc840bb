"""What a biologist asks of a fitted method: which pairs do more than their parts, which perturbation reaches a goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from anyjepa.errors import InputError, did_you_mean
from anyjepa.perturbation.predictions.predict import Answer, ask, of_sets, perturbations, table
from anyjepa.perturbation.scoring.baselines import additive
from anyjepa.perturbation.scoring.effects import Effects, Predict, Prediction

if TYPE_CHECKING:
    from pandas import DataFrame

_AT_ONCE = 512  # candidates whose changes are held together, times genes, times members


class Synergy(NamedTuple):
    """How combinations differ from the sum of their parts, by gene and as a whole."""

    genes: DataFrame
    """As of `table`, log_fold_change the difference from the sum."""
    scores: DataFrame
    """One row a condition: condition, sum, norm, projection, share, spread, parts."""


def synergy(
    predict: Predict, train: Effects, conditions: Sequence[str], parts: Literal["measured", "predicted"] = "measured"
) -> Synergy:
    """The predicted change of combinations minus the sum of the changes of their parts alone.

    parts: single changes are the measured ones (`additive`) where training has all of a condition, else predicted; or
    predicted for all, without the noise of the measured ones. The column `parts` says which a condition has.
    Scores, log1p units: `sum` the length of the parts' sum, `norm` that of the difference, `projection` the difference
    along the sum (below 0: less than additive) with its `spread`, the standard deviation over members, `share` the
    projection over `sum`. Intervals by gene are those of the change, moved by the sum.
    Raises InputError for a single perturbation, and what `ask` refuses, of parts also.
    """
    from pandas import DataFrame

    answer = ask(predict, train, conditions)
    if alone := [name for name, one in zip(answer.conditions, answer.perturbed, strict=True) if len(one) < 2]:
        raise InputError(f"condition '{alone[0]}' is no combination: only those have parts")
    total = np.full(answer.prediction.change.shape, np.nan)
    if parts == "measured":
        total = Prediction.of(additive(train)(answer.perturbed, total)).change
    measured = np.isfinite(total).all(axis=1)
    if not measured.all():
        rest = [answer.perturbed[i] for i in np.flatnonzero(~measured)]
        names = sorted(frozenset[str]().union(*rest))
        single = dict(zip(names, ask(predict, train, names).prediction.change, strict=True))
        total[~measured] = [np.sum([single[name] for name in sorted(one)], axis=0) for one in rest]
    prediction = answer.prediction
    ends = {end: None if (x := getattr(prediction, end)) is None else x - total for end in ("low", "high")}
    difference = Prediction(prediction.change - total, **ends)
    length = np.linalg.norm(total, axis=1)
    along = total / np.where(length > 0, length, np.inf)[:, None]
    projection = (difference.change * along).sum(1)
    scores = DataFrame(
        {
            "condition": np.array(answer.conditions, object),
            "sum": length,
            "norm": np.linalg.norm(difference.change, axis=1),
            "projection": projection,
            "share": projection / np.where(length > 0, length, np.nan),
            "spread": _spread(None if prediction.members is None else (prediction.members * along).sum(2), length),
            "parts": np.where(measured, "measured", "predicted").astype(object),
        }
    )
    return Synergy(table(Answer(answer.genes, answer.conditions, answer.perturbed, total, difference)), scores)


@dataclass(frozen=True)
class Goal:
    """Genes to go up or down, or a change of expression to come near. Raises InputError for none or both of them."""

    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    toward: Mapping[str, float] = field(default_factory=dict)
    """Wanted change by gene, in any unit: only its direction counts."""

    def __post_init__(self) -> None:
        if bool(self.up or self.down) == bool(self.toward):
            raise InputError("a goal is genes to go up or down, or a change to come near: one of the two")
        if twice := [gene for gene in self.genes if self.genes.count(gene) > 1]:
            raise InputError(f"goal: gene '{twice[0]}' occurs twice")
        wanted = np.array(list(self.toward.values()), float)
        if not np.isfinite(wanted).all() or (self.toward and not wanted.any()):
            raise InputError("goal: the wanted change must be finite, and not 0 for all genes")

    @property
    def genes(self) -> tuple[str, ...]:
        return (*self.up, *self.down, *self.toward)

    def score(self, change: np.ndarray, genes: Sequence[str]) -> np.ndarray:
        """(..) of changes (.., G): with `up` and `down` the mean change in the wanted direction, log1p units; with
        `toward` the cosine over its genes, 0 for no change. InputError for an unknown gene, with the nearest."""
        place = {gene: i for i, gene in enumerate(genes)}
        if missing := [gene for gene in self.genes if gene not in place]:
            raise InputError(f"goal: no gene is '{missing[0]}'{did_you_mean(missing[0], genes)}")
        wanted = np.array([1.0] * len(self.up) + [-1.0] * len(self.down) + [*map(float, self.toward.values())])
        found = change[..., [place[gene] for gene in self.genes]]
        if not self.toward:
            return found @ wanted / len(wanted)
        length = np.linalg.norm(found, axis=-1)
        return found @ wanted / np.linalg.norm(wanted) / np.where(length == 0, np.inf, length)


def screen(predict: Predict, train: Effects, goal: Goal, candidates: Sequence[str] | None = None) -> DataFrame:
    """Candidates by their score, the best first: rank, condition, score, spread, low, high, effect, measured.

    candidates: names of conditions; None: every perturbation of training and every pair of them; those that the method
    does not answer come last, with a score of NaN. The score is the goal's, of the mean change; spread, low and high
    its standard deviation and extremes over the members of an ensemble, NaN without one: how far seeds agree, not how
    far they are right, which `calibrated` tells by gene. effect: Euclidean length of the whole change, log1p units.
    measured: training has the condition. Raises InputError for a gene that is not there, and what `ask` refuses.
    """
    from pandas import DataFrame, concat

    goal.score(np.zeros(len(train.genes)), train.genes)  # an unknown gene is told before anything is predicted
    if candidates is not None:
        blocks: Iterator[Answer] = iter([ask(predict, train, candidates)])
    else:
        names = perturbations(train)
        sets = (frozenset(one) for size in (1, 2) for one in combinations(names, size))
        blocks = (of_sets(predict, train, block) for block in iter(lambda: list(islice(sets, _AT_ONCE)), []))
    measured = set(train.perturbed)
    found = []
    for answer in blocks:
        change, members = answer.prediction.change, answer.prediction.members
        score = goal.score(change, train.genes)
        each = score[None] if members is None else goal.score(members, train.genes)
        found.append(
            DataFrame(
                {
                    "condition": np.array(answer.conditions, object),
                    "score": score,
                    "spread": _spread(each, score),
                    "low": each.min(0) if len(each) > 1 else np.nan,
                    "high": each.max(0) if len(each) > 1 else np.nan,
                    "effect": np.linalg.norm(change, axis=1),
                    "measured": [one in measured for one in answer.perturbed],
                }
            )
        )
    ranked = concat(found).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def _spread(each: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    """(T,) standard deviation over members (M, T); NaN for fewer than two."""
    return np.full(like.shape, np.nan) if each is None or len(each) < 2 else each.std(0, ddof=1)
