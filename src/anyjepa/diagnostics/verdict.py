"""A verdict in words on the signs of a training: what went wrong, the evidence, and the setting to change.

The thresholds are set on half of the runs of `benchmarks/doctor.py`; docs/diagnostics.md has the results of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

Row = Mapping[str, float]  # one row of metrics.csv, or the signs of a model
Settings = Mapping[str, Any]  # the recipe as nested tables

WINDOW, LASTING = 5, 3  # most rows whose median counts, and rows that must agree during training
EARLY = 0.2  # share of the steps during which healthy representations may be narrow
COLLAPSED = 0.05  # largest spread of a complete collapse
POSITIONAL = 0.3  # largest share of the deviation of tokens between samples, if tokens only say where they are
NARROW = 0.1  # largest effective rank of a dimensional collapse, as a share of the dimensions
IGNORED = {"input_skill": 0.1, "position_skill": 0.0}  # largest correlations with targets that count as none
TRIVIAL = 0.9  # least distance of a prediction that is no better than trivial ones, as a share of theirs
TRAINED = 500  # steps before which predictions may still ignore the input: positions are learned first
STEP = 0.1  # smallest unstable step, as a share of the length of the weights
SCALE = 0.1, 10.0  # deviations between which inputs are standardised well enough
EVEN, SINGLE = 1 - 1e-6, 0.02  # entropies of attention that chooses nothing, or always one token
_FOLLOWS = (
    "positional collapse",
    "dimensional collapse",
    "positions ignored",
    "input ignored",
    "dead attention",
    "shortcut",
)
FOLLOWS = {  # what needs no finding of its own beside a graver one
    "complete collapse": _FOLLOWS,
    "constant input": ("complete collapse", "wrong scale", *_FOLLOWS),
}
COPIED = {"masked": 0.25, "next_embedding": 0.05}  # share of the mean's distance below which a neighbour is a copy


@dataclass(frozen=True)
class Finding:
    """One fault. since: the step from which every measurement showed it; None: not from a log."""

    kind: str
    evidence: str
    advice: str
    since: int | None = None

    def __str__(self) -> str:
        since = "" if self.since is None else f" since step {self.since:,}"
        return f"{self.kind}{since}: {self.evidence}; {self.advice}"


@dataclass(frozen=True)
class Verdict:
    """Faults, the gravest first. measured: whether there were signs. few: steps, if too few for `input ignored`."""

    findings: tuple[Finding, ...] = ()
    measured: bool = True
    few: int | None = None

    @property
    def healthy(self) -> bool:
        return self.measured and not self.findings

    @property
    def collapsed(self) -> bool:
        """Whether inputs have the same representation, for whatever reason."""
        return any("collapse" in finding.kind or finding.kind == "constant input" for finding in self.findings)

    def __str__(self) -> str:
        if not self.measured:
            return "no signs were measured"
        if self.findings:
            return "; also ".join(map(str, self.findings))
        text = "no sign of collapse or of another known fault"
        if self.few is None:
            return text
        steps = f"{self.few:,} steps are" if self.few != 1 else "1 step is"
        return f"{text}; {steps} too few to show whether the input is used ({TRAINED} are needed)"


def verdict_of(rows: Sequence[Row], settings: Settings, steps: float | None = None) -> Verdict:
    """The verdict on the measured rows of a log in their order, or on a single row of signs.

    The median over the newest half of the rows counts, at most five. A log that ends before `training.steps` has a
    verdict only after the first fifth of the steps, and only on faults that three rows in a row show; so what is said
    during training is part of what is said at the end. settings: the recipe; missing settings make the advice less
    specific and skip the rules that need them. steps: how long the model of a single row was trained; None: unknown,
    taken as long enough.
    """
    measured = [row for row in rows if "input_std" in row]
    total, now = _setting(settings, "training.steps"), measured[-1].get("step") if measured else None
    done = now / total if isinstance(total, int) and now is not None else 1.0  # share of the steps
    if not measured or done < EARLY:
        return Verdict(measured=False)
    summary = _summary(measured) | ({} if steps is None else {"step": steps})
    if steps is not None and steps < TRAINED:
        summary.pop("position_skill", None)
    findings, brief = [], set()
    for rule in RULES:
        if (evidence := rule.evidence(summary, settings)) is not None:
            broken = _newest_series([row for row in measured if "step" in row], rule, settings)
            since = int(broken[0]["step"]) if broken else None
            findings.append(Finding(rule.kind, evidence, rule.advice(settings), since))
            if done < 1 and len(broken) < LASTING:
                brief.add(rule.kind)
    left_out = brief.union(*(FOLLOWS.get(finding.kind, ()) for finding in findings))
    few = int(summary["step"]) if "input_skill" in summary and summary.get("step", TRAINED) < TRAINED else None
    return Verdict(tuple(finding for finding in findings if finding.kind not in left_out), few=few)


def covers(verdict: Verdict, kind: str) -> bool:
    """Whether a verdict names a kind of fault, or a graver one that explains it."""
    return any(kind in (finding.kind, *FOLLOWS.get(finding.kind, ())) for finding in verdict.findings)


def _newest_series(rows: Sequence[Row], rule: Rule, settings: Settings) -> Sequence[Row]:
    """The newest unbroken series of rows that break the rule; the newest row if only their median does."""
    broken = [rule.evidence(row, settings) is not None for row in rows]
    if True not in broken:
        return rows[-1:]
    end = len(broken) - broken[::-1].index(True)
    first = end
    while first > 0 and broken[first - 1]:
        first -= 1
    return rows[first:end]


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    """Medians of the finite values of each column over the last rows; NaN where the newest value is NaN.

    Of `update` it is the largest value after the first row, because the learning rate falls at the end. Of
    `position_skill` it is the value that a fifth of all rows exceed, because a predictor without positions ignores them
    from the first step, and its skill is rarely more than 0 by chance.
    """
    last = rows[-min(WINDOW, max(1, len(rows) // 2)) :]
    summary = {}
    for name, newest in last[-1].items():
        values = [row[name] for row in last if name in row and isfinite(row[name])]
        summary[name] = median(values) if values and isfinite(newest) else newest
    if "step" in summary:
        summary["step"] = last[-1]["step"]
    if skills := sorted(abs(skill) for row in rows if isfinite(skill := row.get("position_skill", float("nan")))):
        summary["position_skill"] = skills[-1 - len(skills) // 5]
    if "update" in summary:
        summary["update"] = max((row["update"] for row in rows[1:] if "update" in row), default=summary["update"])
    return summary


@dataclass(frozen=True)
class Rule:
    """evidence: what breaks the rule, in words with numbers; None if nothing does or it was not measured."""

    kind: str
    evidence: Callable[[Row, Settings], str | None]
    advice: Callable[[Settings], str]


def _setting(settings: Settings, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    value: Any = settings
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _all(row: Row, name: str) -> dict[str, float]:
    """The values of a sign of representations, such as teacher_spread, by representation."""
    names = {key.removesuffix(f"_{name}"): value for key, value in row.items() if key.endswith(f"_{name}")}
    return {key: value for key, value in names.items() if key != "input"}


def _least(row: Row, name: str) -> tuple[str, float] | None:
    values = {key: value for key, value in _all(row, name).items() if isfinite(value)}
    return min(values.items(), key=lambda item: item[1]) if values else None


def _not_finite(row: Row, settings: Settings) -> str | None:
    bad = [
        name
        for name, value in row.items()
        if name.endswith(("_std", "_spread", "prediction", "_distance")) and value != value
    ]
    return f"{bad[0]} is not a number" if bad else None


def _constant(row: Row, settings: Settings) -> str | None:
    between = row.get("input_between", 1.0)
    if between > 1e-4:
        return None
    return f"the inputs of a batch are equal (share of their deviation between samples: {between:.2g})"


def _scale(row: Row, settings: Settings) -> str | None:
    std, mean, (low, high) = row.get("input_std", 1.0), row.get("input_mean", 0.0), SCALE
    if low <= std <= high and abs(mean) <= high * std:
        return None
    return f"the prepared inputs have mean {mean:.3g} and standard deviation {std:.3g}, not about 0 and 1"


def _dead(row: Row, settings: Settings) -> str | None:
    share = row.get("zero_weights", 0.0)
    return f"{share:.0%} of the encoder's weight matrices are zero" if share > 0 else None


def _unstable(row: Row, settings: Settings) -> str | None:
    update = row.get("update", 0.0)
    return f"one step moves the weights by {update:.0%} of their length" if update > STEP else None


def _complete(row: Row, settings: Settings) -> str | None:
    if (least := _least(row, "spread")) is None or least[1] > COLLAPSED:
        return None
    return f"representations of different inputs differ by {least[1]:.2%} of their length ({least[0]})"


def _positional(row: Row, settings: Settings) -> str | None:
    if (least := _least(row, "between")) is None or least[1] > POSITIONAL:
        return None
    return f"tokens say where they are, not what is there: {least[1]:.0%} of their deviation is between samples"


def _dimensional(row: Row, settings: Settings) -> str | None:
    dim = _setting(settings, "objective.encoder.dim")
    ranks = _all(row, "token_rank")
    ranks |= {name: row[f"{name}_rank"] for name in ("embedding", "output") if f"{name}_rank" in row}  # are tokens, too
    ranks = {name: value for name, value in ranks.items() if isfinite(value)}
    if not ranks or not isinstance(dim, int):
        return None
    name, rank = min(ranks.items(), key=lambda item: item[1])
    return f"effective rank {rank:.1f} of {dim} ({name})" if rank / dim < NARROW else None


def _frozen(row: Row, settings: Settings) -> str | None:
    still = row.get("teacher_update") == 0 and row.get("update", 0.0) > 0
    return f"the teacher does not move (momentum {row.get('momentum', 1):g})" if still else None


def _copy(row: Row, settings: Settings) -> str | None:
    momentum = row.get("momentum", 1.0)
    if momentum > 0.5:
        return None
    cosine = row.get("teacher_cosine", float("nan"))
    return f"the teacher keeps {momentum:.0%} of its weights per step (cosine with the student {cosine:.4f})"


def _without_positions(row: Row, settings: Settings) -> str | None:
    skill = row.get("position_skill")
    if skill is None or _setting(settings, "objective.kind") != "masked" or abs(skill) > IGNORED["position_skill"]:
        return None
    return f"predictions do not depend on the position that is predicted (correlation with the targets {skill:.3f})"


def _without_input(row: Row, settings: Settings) -> str | None:
    skill, own = row.get("input_skill"), row.get("prediction_distance", float("inf"))
    if skill is None or skill > IGNORED["input_skill"] or row.get("step", TRAINED) < TRAINED:
        return None
    trivial = min(row.get(f"trivial_{name}", float("inf")) for name in ("mean", "position"))
    if own < TRIVIAL * trivial:
        return None
    return f"predictions do not depend on the input (correlation with the targets over samples {skill:.3f})"


def _attention(row: Row, settings: Settings) -> str | None:
    entropy = row.get("attention_entropy")
    if entropy is None or SINGLE < entropy < EVEN:
        return None
    what = "attends to all tokens alike" if entropy > 0.5 else "attends to a single token"
    return f"every query {what} (entropy {entropy:.6f} of the largest)"


def _copied(row: Row, settings: Settings) -> str | None:
    neighbour, mean, own = (row.get(name) for name in ("trivial_neighbour", "trivial_mean", "prediction_distance"))
    share = COPIED.get(str(_setting(settings, "objective.kind")), 0.0)
    if neighbour is None or mean is None or own is None or own < 0.5 * neighbour or neighbour > share * mean:
        return None
    return f"repeating the neighbouring token is nearly as good as the prediction (distance {neighbour:.3g}, {own:.3g})"


def _against_collapse(settings: Settings) -> str:
    kind, regulariser = _setting(settings, "objective.target.kind"), _setting(settings, "objective.regulariser.kind")
    if regulariser == "vicreg":
        return "raise objective.regulariser.variance or lower training.optimiser.lr"
    if regulariser == "sigreg":
        return "raise objective.regulariser.weight or lower training.optimiser.lr"
    if kind == "teacher":
        return "lower training.optimiser.lr or raise objective.target.momentum"
    if kind in ("shared", "separate", "stop_gradient"):
        return "set objective.target.kind=teacher, or objective.regulariser.kind=vicreg"
    return "lower training.optimiser.lr"


def _says(text: str) -> Callable[[Settings], str]:
    return lambda settings: text


RULES = (
    Rule("not finite", _not_finite, _says("lower training.optimiser.lr and check the data")),
    Rule("constant input", _constant, _says("check the data with 'anyjepa data inspect'")),
    Rule("complete collapse", _complete, _against_collapse),
    Rule("positional collapse", _positional, _against_collapse),
    Rule("dimensional collapse", _dimensional, _against_collapse),
    Rule("dead weights", _dead, _says("check the initial weights, or where they were loaded from")),
    Rule("unstable steps", _unstable, _says("lower training.optimiser.lr or raise training.optimiser.warmup")),
    Rule("wrong scale", _scale, _says("check the unit of the data and the statistics in preprocessing.json")),
    Rule("frozen teacher", _frozen, _says("lower objective.target.momentum")),
    Rule("no teacher", _copy, _says("raise objective.target.momentum, usually to 0.99 or more")),
    Rule("positions ignored", _without_positions, _says("check objective.predictor.positions")),
    Rule("input ignored", _without_input, _says("check that targets belong to their inputs; else train longer")),
    Rule("dead attention", _attention, _says("lower training.optimiser.lr, or set objective.encoder.block.qk_norm")),
    Rule("shortcut", _copied, _says("remove what neighbouring tokens share, such as an offset of each record")),
)
