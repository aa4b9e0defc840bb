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
    return row.name if row.weights in ("none", "random") or row.weights in row.name else f"{row.name} ({row.weights})"


def same_repeats(result: Result) -> bool:
    """Whether the repeats say nothing about spread: there is one, or all tested the same probe on the same records."""
    first = result.rows[0].metrics.get("macro_auroc", UNKNOWN)
    return first.low is None or first.low == first.high


def metric(result: Result, row: Row, name: str) -> Estimate:
    """A metric of a row. Where repeats say nothing about spread, macro AUROC has the bootstrap's interval instead."""
    found = row.metrics.get(name, UNKNOWN)
    if not same_repeats(result):
        return found
    low, high = (row.bootstrap if name == "macro_auroc" else None) or (None, None)
    return Estimate(found.mean, low, high, found.repeats)


def auroc(result: Result, row: Row) -> Estimate:
    """Macro AUROC of a row."""
    return metric(result, row, "macro_auroc")


def difference(result: Result, row: Row) -> Estimate:
    """Macro AUROC of the first row minus this one, paired; unknown for the first row itself."""
    found = next((d.estimate for d in result.differences if d.minus == row.name), UNKNOWN)
    return Estimate(found.mean, None, None, found.repeats) if same_repeats(result) else found


def basis(result: Result) -> str:
    """What the intervals of macro AUROC are over."""
    return "over patients (bootstrap)" if same_repeats(result) else f"over {len(result.rows[0].repeats)} repeats"


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
