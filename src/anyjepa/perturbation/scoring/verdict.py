"""What a comparison says in plain words: which method to use, and what a pretrained encoder adds."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import HEADLINE, MethodRow, PerturbationResult

LEAST = 5
"""Fewest different test conditions for a verdict: a bootstrap over fewer says little."""
NEGLIGIBLE = 0.01
"""Largest difference of correlations that does not matter; of distances above 1, as a share."""
NO_CHANGE = "no change"
PCA, PRETRAINED = "head on PCA", "head on pretrained"  # how the names of these rows begin

Outcome = Literal["better", "worse", "no clear difference", "unknown"]

IN_L2 = {
    "better": "it is better",
    "worse": "it is worse",
    "no clear difference": "there is no clear difference",
    "unknown": "the difference is not known",
}


class Contest(NamedTuple):
    """The first row and another one, over the conditions that both predict."""

    first: str
    other: str
    means: tuple[float, float]
    difference: Estimate  # first minus other
    better: int  # +1: higher values are better; -1: lower
    names: int  # different conditions

    @property
    def outcome(self) -> Outcome:
        """Of the first row, by the 95 % interval of the difference; one that is too small to matter is not clear."""
        if self.names < LEAST or self.difference.bootstrap is None or self.difference.mean is None:
            return "unknown"
        if abs(self.difference.mean) < NEGLIGIBLE * max(1.0, abs(self.means[1])):
            return "no clear difference"
        low, high = sorted(self.better * end for end in self.difference.bootstrap)
        return "better" if low > 0 else "worse" if high < 0 else "no clear difference"

    @property
    def reversed(self) -> Contest:
        """The other row against the first."""
        gain = self.difference
        ends = None if gain.bootstrap is None else (-gain.bootstrap[1], -gain.bootstrap[0])
        mean = None if gain.mean is None else -gain.mean
        turned = Estimate(mean, None, None, gain.repeats, ends)
        return self._replace(first=self.other, other=self.first, means=self.means[::-1], difference=turned)

    def __str__(self) -> str:
        """Both means, the difference and its interval."""
        a, b = self.means
        return f"{a:.3f} and {b:.3f}, {self.margin}"

    @property
    def margin(self) -> str:
        """The difference and its interval, or why there is none."""
        gain = self.difference
        if gain.mean is None:
            return "no condition is predicted by both"
        if gain.bootstrap is None or self.names < LEAST:
            return (
                f"difference {gain.mean:+.3f}, no interval: {self.names} different conditions, and {LEAST} are needed"
            )
        low, high = gain.bootstrap
        return f"difference {gain.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, {gain.repeats} conditions"


class Verdict(NamedTuple):
    """Sentences for the reader, the most important first."""

    use: str | None
    """Name of the row to use; None: no prediction can be trusted, or there are too few conditions."""
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def contest(result: PerturbationResult, row: MethodRow, metric: str = HEADLINE) -> Contest:
    """Compare the first row with another one, over the conditions that both predict."""
    first = result.rows[0]
    scores = np.array([first.scores[metric], row.scores[metric]], float)  # None becomes NaN
    both: np.ndarray = np.asarray(np.isfinite(scores).all(0))
    a, b = scores[:, both].mean(1).tolist() if both.any() else (float("nan"), float("nan"))
    names = {condition.name for condition, shared in zip(result.conditions, both, strict=True) if shared}
    gain = row.difference.get(metric, UNKNOWN)
    return Contest(first.name, row.name, (a, b), gain, METRICS[metric].better, len(names))


def rival(result: PerturbationResult) -> MethodRow | None:
    """The baseline that the first row beats least, of those that predict at least half of its conditions.

    The difference to a baseline is over the conditions that both predict. No change is a rival only without another
    one. None: the first row has no rival.
    """
    needed = (len(result.conditions) - result.rows[0].unanswered) / 2
    rows = [
        row
        for row in result.rows[1:]
        if row.control
        and row.name not in (result.ceiling, f"{result.rows[0].name}, shuffled")
        and (gain := row.difference.get(HEADLINE, UNKNOWN)).mean is not None
        and gain.repeats >= max(1, needed)
    ]
    return min(rows, key=lambda row: (row.name == NO_CHANGE, row.difference[HEADLINE].mean or 0.0), default=None)


def verdict(result: PerturbationResult) -> Verdict:
    """Say which method to use, by Pearson vs mean, and what the pretrained encoder adds if one was evaluated."""
    first = result.rows[0]
    answered = len(result.conditions) - first.unanswered
    if not answered:
        return Verdict(None, (f"The {title(first.name)} predicts none of the {len(result.conditions)} conditions.",))
    other = rival(result)
    if other is None:
        return Verdict(None, (f"Nothing was compared with the {title(first.name)}.", *_encoder(result)[1]))
    head, l2 = contest(result, other), contest(result, other, "l2")
    metric = METRICS[HEADLINE].title
    against = f"{metric} {head}"
    in_l2 = f"In L2 {IN_L2[l2.outcome]}: {l2.margin}."
    if head.outcome == "unknown":
        use, sentences = None, [f"No verdict: {title(first.name)} against {title(other.name)}: {against}."]
    elif head.outcome == "better":
        use, sentences = first.name, [f"Use the {title(first.name)}: it beats {title(other.name)} ({against}).", in_l2]
    elif other.name in (result.baseline, NO_CHANGE):
        use = None
        sentences = [
            f"Trust no prediction here: the {title(first.name)} is not better than {title(other.name)} ({against}).",
            in_l2,
        ]
    else:
        what = "the head is worse" if head.outcome == "worse" else "no clear difference to the head"
        pair = f"{title(first.name)} and it: {against}"
        use, sentences = other.name, [f"Use {title(other.name)}, the simplest: {what} ({pair}).", in_l2]
    if use and not _useful(result.row(use)):
        estimate = result.row(use).metrics[HEADLINE]
        doubt = f"{title(use)} is not clearly above the mean ({_interval(estimate)})"
        sentences = [f"Trust no prediction here: {doubt}."]
        use = None
    nothing = next((row for row in result.rows if row.name == NO_CHANGE), None)
    if use == first.name and nothing and (pair := contest(result, nothing)).outcome in ("worse", "no clear difference"):
        sentences = [f"Trust no prediction here: no change is as good ({metric} {pair})."]
        use = None
    added, about_encoder = _encoder(result)
    if use and use == first.name and use.startswith(PRETRAINED) and added in ("worse", "no clear difference"):
        use = next(row.name for row in result.rows if row.name.startswith(PCA))
    return Verdict(use, (*sentences, *about_encoder))


def title(name: str) -> str:
    """Name of a row in a sentence."""
    return "head on principal components" if name.startswith(PCA) else name


def _useful(row: MethodRow) -> bool:
    """Whether the row is clearly above the perturbed mean, whose score is 0."""
    interval = row.metrics[HEADLINE].bootstrap
    return interval is not None and interval[0] > 0


def _interval(estimate: Estimate) -> str:
    ends = estimate.bootstrap
    return f"{estimate.mean:.3f}" + (f", 95 % interval {ends[0]:.3f} to {ends[1]:.3f}" if ends else ", no interval")


def _encoder(result: PerturbationResult) -> tuple[Outcome, tuple[str, ...]]:
    """What the pretrained encoder adds to the same head on principal components, and in words."""
    rows: dict[str, MethodRow] = {}
    for row in result.rows:
        rows.setdefault(row.name.partition(" (")[0], row)  # the shuffled row comes later
    if PCA not in rows or PRETRAINED not in rows or result.rows[0] not in (rows[PCA], rows[PRETRAINED]):
        return "unknown", ()
    pca_first = result.rows[0] is rows[PCA]
    pair = contest(result, rows[PRETRAINED if pca_first else PCA])
    pair = pair.reversed if pca_first else pair
    sentences = {
        "better": "The pretrained encoder helps",
        "worse": "The pretrained encoder does harm",
        "no clear difference": "The pretrained encoder adds nothing here",
        "unknown": "What the pretrained encoder adds is not known",
    }[pair.outcome]
    return pair.outcome, (f"{sentences} ({pair.margin}).",)
