"""Titles, estimates and intervals of results as text."""

from __future__ import annotations

from anyjepa.evaluation.intervals import Estimate
from anyjepa.evaluation.result import Result, Row


def auroc(result: Result, row: Row) -> Estimate:
    """Macro AUROC of a row with its interval."""
    return result.metric(row, "macro_auroc")


def mean_text(value: Estimate, signed: bool = False) -> str:
    """The mean, such as '0.912', or a dash if there is none."""
    return "–" if value.mean is None else f"{value.mean:{'+' if signed else ''}.3f}"


def range_text(value: Estimate, signed: bool = False) -> str:
    """The interval, such as '(0.901 to 0.923)', or '' if there is none."""
    if value.mean is None or value.low is None or value.high is None:
        return ""
    sign = "+" if signed else ""
    return f"({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def text(value: Estimate, signed: bool = False) -> str:
    """The mean with its interval, such as '0.912 (0.901 to 0.923)'."""
    return f"{mean_text(value, signed)} {range_text(value, signed)}".strip()


def interval_text(value: Estimate, signed: bool = False) -> str:
    """The bootstrap interval, such as '(0.901 to 0.923)', or '' if there is none."""
    if value.bootstrap is None:
        return ""
    sign = "+" if signed else ""
    return f"({value.bootstrap[0]:{sign}.3f} to {value.bootstrap[1]:{sign}.3f})"
