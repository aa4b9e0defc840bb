"""The results of a run in the form that the report draws: encoder and controls, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; NaN where there is no number."""

    mean: float = NAN
    low: float = NAN
    high: float = NAN

    @property
    def known(self) -> bool:
        """Whether there is a mean."""
        return isfinite(self.mean)

    def range(self, signed: bool = False) -> str:
        """'(0.810 to 0.850)', or nothing without an interval."""
        if not (isfinite(self.low) and isfinite(self.high)):
            return ""
        sign = "+" if signed else ""
        return f"({self.low:{sign}.3f} to {self.high:{sign}.3f})"

    def __str__(self) -> str:
        return f"{self.mean:.3f} {self.range()}".strip() if self.known else "unknown"


@dataclass(frozen=True)
class Row:
    """One thing that was probed: the encoder, or a control."""

    title: str
    main: bool
    metrics: dict[str, Interval] = field(default_factory=dict)
    per_class: dict[str, Interval] = field(default_factory=dict)  # AUROC
    difference: Interval | None = None  # the encoder's macro AUROC minus this, paired

    @property
    def auroc(self) -> Interval:
        """The macro AUROC."""
        return self.metrics.get("macro_auroc", Interval())

    def of(self, name: str) -> Interval:
        """The AUROC of one class."""
        return self.per_class.get(name, Interval())


@dataclass(frozen=True)
class Comparison:
    """One evaluation: a protocol on a task."""

    title: str
    rows: list[Row]
    counts: dict[str, int] = field(default_factory=dict)  # records of each class
    notes: list[str] = field(default_factory=list)
    test: str = ""  # what was tested, in words


def interval(value: Any) -> Interval | None:
    """{'mean', 'low', 'high'} of a result file; None if there is no such thing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Interval(float(value))
    if not isinstance(value, dict) or "mean" not in value:
        return None
    numbers = (value.get(key) for key in ("mean", "low", "high"))
    return Interval(*(float(v) if isinstance(v, (int, float)) else NAN for v in numbers))


def comparison(result: dict[str, Any]) -> Comparison:
    """A result file's content as the report shows it. Raises an error if it does not fit."""
    rows = [
        Row(
            system["name"],
            system["name"] == "this encoder",
            {key: got for key, value in system["metrics"].items() if (got := interval(value))},
            {key: got for key, value in system["per_class"].items() if (got := interval(value))},
            interval(system.get("difference")),
        )
        for system in result["systems"]
    ]
    return Comparison(result["title"], rows, result.get("counts", {}), test="500 test patients")
