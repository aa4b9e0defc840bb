"""What an evaluation found, as JSON with a schema and as a table for the terminal."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from platform import platform, python_version
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from anyjepa.config import Config
from anyjepa.errors import InputError
from anyjepa.evaluation.metrics import UNKNOWN, Estimate

if TYPE_CHECKING:
    from rich.console import Group

TITLES = {
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


class Repeat(Config):
    """One row on one test part. None: there is no such number, as the AUROC of a class without positives."""

    seed: int
    fold: int
    metrics: dict[str, float | None]
    class_auroc: dict[str, float | None]
    chosen: dict[str, float] = Field(description="what validation data chose: strength, steps")


class Row(Config):
    """One thing that was judged: an encoder or a control."""

    name: str
    control: bool
    weights: str = Field(description="teacher, student, random or none")
    transductive: bool | None = Field(description="pretraining saw test records; none: unknown")
    repeats: tuple[Repeat, ...]
    metrics: dict[str, Estimate] = Field(description="mean and 95 % t interval over repeats")
    class_auroc: dict[str, Estimate]
    bootstrap: tuple[float, float] | None = Field(description="95 % interval of macro AUROC over groups (patients)")

    @property
    def title(self) -> str:
        """Its name, and which weights of a pretrained encoder were used."""
        named = self.weights in ("none", "random") or self.weights in self.name
        return self.name if named else f"{self.name} ({self.weights})"


class Difference(Config):
    """The first row minus another."""

    minus: str
    metric: str
    estimate: Estimate = Field(description="mean and 95 % t interval over repeats, paired by seed and fold")
    bootstrap: tuple[float, float] | None = Field(
        default=None, description="95 % interval over groups (patients), paired: the same draws of groups for both rows"
    )


class Parts(Config):
    """Records and groups of the training, validation and test part in the first repeat, after low-shot."""

    records: tuple[int, int, int]
    groups: tuple[int, int, int]


class Result(Config):
    """One evaluation: a protocol on a task, with the controls beside."""

    schema_version: Literal[1] = 1
    task: str
    data: str = Field(description="what was evaluated on, in words")
    protocol: str
    settings: dict[str, Any] = Field(description="the evaluation's config in full")
    exclusive: bool = Field(description="each record has exactly one class")
    classes: dict[str, int] = Field(description="records of each class that was evaluated")
    dropped: dict[str, int] = Field(description="classes left out for having too few records, with their number")
    unscored: dict[str, int] = Field(description="classes without an AUROC in some test parts, and in how many")
    records: int
    groups: int
    unlabelled: int = Field(description="records of the data without a label")
    absent: int = Field(description="labelled ids without data")
    parts: Parts
    rows: tuple[Row, ...]
    intervals: Literal["repeats", "patients"] = Field(
        default="repeats",
        description="what 95 % intervals of macro AUROC to show: t over repeats, or where all repeats have the same "
        "test part the bootstrap over groups (patients)",
    )
    differences: tuple[Difference, ...]
    notices: tuple[str, ...] = Field(description="what a reader must know first, transductive pretraining above all")
    environment: dict[str, str]

    @property
    def basis(self) -> str:
        """What the intervals shown are, as '95 % t over 15 repeats'."""
        if self.intervals == "patients":
            return "95 % over patients (bootstrap)"
        return f"95 % t over {len(self.rows[0].repeats)} repeats"

    def metric(self, row: Row, name: str) -> Estimate:
        """A metric of a row with the interval to show."""
        return self.shown(row.metrics.get(name, UNKNOWN), row.bootstrap if name == "macro_auroc" else None)

    def difference(self, row: Row) -> Estimate:
        """Macro AUROC of the first row minus this one with the interval to show; unknown for the first row itself."""
        found = next((difference for difference in self.differences if difference.minus == row.name), None)
        return self.shown(found.estimate, found.bootstrap) if found else UNKNOWN

    def shown(self, estimate: Estimate, bootstrap: tuple[float, float] | None = None) -> Estimate:
        """The estimate with the interval that `intervals` names, none where that has no width.

        Equal repeats on one test part have a t interval without width that would pass for certainty.
        """
        low, high = (bootstrap or (None, None)) if self.intervals == "patients" else (estimate.low, estimate.high)
        if low is None or high is None or high - low < 1e-9:
            low = high = None
        return Estimate(estimate.mean, low, high, estimate.repeats)

    def to_json(self, path: str | Path | None = None) -> str:
        """The result as JSON text, also written to `path` if one is given."""
        text = self.model_dump_json(indent=2) + "\n"
        if path is not None:
            Path(path).write_text(text)
        return text

    @classmethod
    def from_json(cls, path: str | Path) -> Result:
        """Read a result file. Raises InputError with the first thing that does not fit."""
        try:
            return cls.model_validate_json(Path(path).read_text())
        except (OSError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
            raise InputError(f"{path}: not a result of anyjepa evaluate: {reason}") from None


def environment() -> dict[str, str]:
    """Versions of what computes a result."""
    packages = ("anyjepa", "torch", "lightning", "numpy", "scipy")
    return {"python": python_version(), "platform": platform()} | {name: metadata.version(name) for name in packages}


def render(result: Result) -> Group:
    """The result for a terminal: notices, a table of rows, and what is behind it."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    others = [name for name in TITLES if name in result.rows[0].metrics and name != "macro_auroc"]
    title = escape(f"{result.task}: {result.protocol} on {result.data}")
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=True, collapse_padding=True)
    table.add_column("")
    for heading in ("macro\nAUROC", "first row\nminus this", *(TITLES[name].replace(" ", "\n") for name in others)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        cells = [_cell(result.metric(row, "macro_auroc")), _cell(result.difference(row), signed=True)]
        cells += [_mean(row.metrics[name]) for name in others]
        table.add_row(escape(row.title), *cells, style="dim" if row.control else "bold")
    notices = [Text(notice, style="bold yellow") for notice in result.notices]
    return Group(*notices, table, Text(_footnote(result)))


def _cell(estimate: Estimate, signed: bool = False) -> str:
    """Mean, and on a line of its own the interval, so that 80 columns hold the table."""
    sign = "+" if signed else ""
    interval = "" if estimate.low is None else f"\n{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"
    return _mean(estimate, sign) + interval


def _mean(estimate: Estimate, sign: str = "") -> str:
    return "-" if estimate.mean is None else f"{estimate.mean:{sign}.3f}"


def _footnote(result: Result) -> str:
    train, validation, test = result.parts.records
    lines = [
        f"{result.records} records of {result.groups} groups; {train} train, {validation} choose, {test} test.",
        f"Repeats: {len(result.rows[0].repeats)}. Intervals: {result.basis}; differences are paired.",
        "Classes: " + ", ".join(f"{name} {count}" for name, count in result.classes.items()),
    ]
    if result.dropped:
        lines.append("Too rare: " + ", ".join(f"{name} {count}" for name, count in result.dropped.items()))
    if result.unscored:
        lines.append("Without AUROC in some test parts: " + ", ".join(f"{k} ({n})" for k, n in result.unscored.items()))
    if result.unlabelled or result.absent:
        lines.append(f"{result.unlabelled} records without a label, {result.absent} labels without a record.")
    return "\n".join(lines)
