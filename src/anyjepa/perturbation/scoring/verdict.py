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
NO_CHANGE, DELTA = "no change", "pearson_delta"
PCA, PRETRAINED = "head on PCA", "head on pretrained"  # how the names of these rows begin

Outcome = Literal["better", "worse", "no clear difference", "too small to matter", "unknown"]

IN_L2 = {
    "better": "it is better",
    "worse": "it is worse",
    "no clear difference": "there is no clear difference",
    "too small to matter": "the difference is clear, but too small to matter",
    "unknown": "the difference is not known",
}
SIMPLER = {
    "no clear difference": "is not clearly better",
    "too small to matter": "differs too little to matter",
}
ENCODER = {
    "better": "helps",
    "worse": "does harm",
    "no clear difference": "adds nothing here",
    "too small to matter": "adds nothing that matters here",
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
        """Of the first row, by the 95 % interval of the difference."""
        if self.names < LEAST or self.difference.bootstrap is None or self.difference.mean is None:
            return "unknown"
        low, high = sorted(self.better * end for end in self.difference.bootstrap)
        if low <= 0 <= high:
            return "no clear difference"
        if abs(self.difference.mean) < NEGLIGIBLE * max(1.0, abs(self.means[1])):
            return "too small to matter"
        return "better" if low > 0 else "worse"

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
        none = f"{title(first.name)} predicts none of the {len(result.conditions)} conditions"
        return Verdict(None, (f"No verdict: {none}.",))
    other = rival(result)
    if other is None:
        return Verdict(None, (f"Nothing was compared with {title(first.name)}.", *_encoder(result)[1]))
    use, sentences = _choice(result, first, other)
    added, about_encoder = _encoder(result)
    if use and use == first.name and use.startswith(PRETRAINED) and added not in ("better", "unknown"):
        use = next(row.name for row in result.rows if row.name.startswith(PCA))
    return Verdict(use, (*sentences, *about_encoder))


def _choice(result: PerturbationResult, first: MethodRow, other: MethodRow) -> tuple[str | None, list[str]]:
    """The row to use, if any: the first one or its rival, and why."""
    metric, head, simple = METRICS[HEADLINE].title, title(first.name), title(other.name)
    pair, l2 = contest(result, other), contest(result, other, "l2")
    against, in_l2 = f"{metric} {pair}", f"In L2, {IN_L2[l2.outcome]}: {l2.margin}."
    if pair.outcome == "unknown":
        return None, [f"No verdict: {head} against {simple}: {against}."]
    if pair.outcome != "better" and other.name == result.baseline and _one_perturbation(result) and _right(other):
        what = f"{simple}, the mean change of the same perturbation elsewhere"
        level = f"{METRICS[DELTA].title} {_level(other, DELTA)}"
        return other.name, [f"Use {what} ({level}): {head} is not clearly better ({against}).", in_l2]
    if pair.outcome != "better" and other.name in (result.baseline, NO_CHANGE):
        return None, [f"Trust no prediction here: {head} is not better than {simple} ({against}).", in_l2]
    if pair.outcome == "worse" and _useful(other):
        return other.name, [f"Use {simple}: {head} is worse ({against}).", in_l2]
    if pair.outcome != "better" and _useful(other):
        return other.name, [f"Use {simple}: it is simpler, and {head} {SIMPLER[pair.outcome]} ({against}).", in_l2]
    if pair.outcome == "worse" or not _useful(first):
        row = other if pair.outcome == "worse" else first
        return None, [f"Trust no prediction here: {title(row.name)} is not clearly above the mean ({_level(row)})."]
    nothing = next((row for row in result.rows if row.name == NO_CHANGE), None)
    if nothing and (still := contest(result, nothing)).outcome not in ("better", "unknown"):
        return None, [f"Trust no prediction here: {head} is not clearly better than '{NO_CHANGE}' ({metric} {still})."]
    if pair.outcome == "better":
        return first.name, [f"Use {head}: it beats {simple} ({against}).", in_l2]
    clear = f"it is clearly above the mean ({metric} {_level(first)}), and {simple} is not ({_level(other)})"
    return first.name, [f"Use {head}: {clear}."]


def title(name: str) -> str:
    """A row in a sentence: a head in words, any other by its name."""
    if name.startswith(PCA):
        return "the head on principal components"
    if name.startswith(PRETRAINED):
        return "the head on the pretrained encoder"
    return f"'{name}'"


def _useful(row: MethodRow) -> bool:
    """Whether the row is clearly above the perturbed mean, whose score is 0."""
    interval = row.metrics[HEADLINE].bootstrap
    return interval is not None and interval[0] > 0


def _one_perturbation(result: PerturbationResult) -> bool:
    """Whether one perturbation is tested in several cell types, donors or batches."""
    return len(result.conditions) > 1 and len({condition.perturbed for condition in result.conditions}) == 1


def _right(row: MethodRow) -> bool:
    """Whether the changes of the row clearly correlate with the true ones."""
    interval = row.metrics[DELTA].bootstrap
    return interval is not None and interval[0] > 0


def _level(row: MethodRow, metric: str = HEADLINE) -> str:
    """Mean of a row, with its interval."""
    estimate = row.metrics[metric]
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
    phrase = ENCODER.get(pair.outcome)
    what = f"The pretrained encoder {phrase}" if phrase else "What the pretrained encoder adds is not known"
    return pair.outcome, (f"{what} ({pair.margin}).",)
