"""Results in words: estimates, intervals, what a row is called."""

from __future__ import annotations

from anyjepa.evaluation.metrics import Estimate
from anyjepa.evaluation.result import Result, Row

UNKNOWN = Estimate(None, None, None, 0)
_PROTOCOLS = {
    "linear": "Linear probe",
    "knn": "Nearest neighbours",
    "attentive": "Attentive probe",
    "finetune": "Fine-tuning",
    "supervised": "Training from scratch",
}


def title(result: Result) -> str:
    """'Linear probe of rhythm, 5 labels a class'."""
    low_shot = result.settings.get("low_shot")
    if low_shot is None:
        labels = ""
    elif isinstance(low_shot, int):
        labels = f", {low_shot} labels a class"
    else:
        labels = f", {low_shot:.0%} of the labels"
    return f"{_PROTOCOLS.get(result.protocol, result.protocol)} of {result.task}{labels}"


def row_title(row: Row) -> str:
    """Its name, and which weights of a pretrained encoder were used."""
    return row.name if row.weights in ("none", "random") else f"{row.name} ({row.weights})"


def auroc(row: Row) -> Estimate:
    """Macro AUROC. A single repeat takes its interval from the bootstrap over patients."""
    found = row.metrics.get("macro_auroc", UNKNOWN)
    if found.low is None and row.bootstrap is not None:
        return Estimate(found.mean, *row.bootstrap, found.repeats)
    return found


def difference(result: Result, row: Row) -> Estimate:
    """Macro AUROC of the first row minus this one, paired; unknown for the first row itself."""
    return next((d.estimate for d in result.differences if d.minus == row.name), UNKNOWN)


def basis(result: Result) -> str:
    """What an interval is over."""
    repeats = len(result.rows[0].repeats)
    return f"over {repeats} repeats" if repeats > 1 else "over patients, by bootstrap"


def mean_text(value: Estimate, signed: bool = False) -> str:
    """'0.912', or a dash."""
    return "–" if value.mean is None else f"{value.mean:{'+' if signed else ''}.3f}"


def range_text(value: Estimate, signed: bool = False) -> str:
    """'(0.901 to 0.923)', or nothing without an interval."""
    if value.mean is None or value.low is None or value.high is None:
        return ""
    sign = "+" if signed else ""
    return f"({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def text(value: Estimate, signed: bool = False) -> str:
    """'0.912 (0.901 to 0.923)'."""
    return f"{mean_text(value, signed)} {range_text(value, signed)}".strip()
