"""What an evaluation found, as JSON with a schema and as a table for the terminal."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from platform import platform, python_version
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from anyjepa.config import Config
from anyjepa.errors import InputError
from anyjepa.evaluation.metrics import Estimate

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


class Difference(Config):
    """The first row minus another, paired by seed and fold."""

    minus: str
    metric: str
    estimate: Estimate


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
    differences: tuple[Difference, ...]
    notices: tuple[str, ...] = Field(description="what a reader must know first, transductive pretraining above all")
    environment: dict[str, str]

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
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    metrics = [name for name in TITLES if name in result.rows[0].metrics]
    table = Table(title=escape(f"{result.task}: {result.protocol} on {result.data}"), title_justify="left")
    table.add_column("")
    differences = {difference.minus: difference.estimate for difference in result.differences}
    for heading in (*(TITLES[name] for name in metrics), *(["first row minus this"] if differences else [])):
        table.add_column(heading, justify="right")
    for row in result.rows:
        cells = [_cell(row.metrics[name]) for name in metrics]
        if differences:
            cells.append(_cell(differences[row.name], signed=True) if row.name in differences else "")
        named = row.weights in ("none", "random") or row.weights in row.name
        weights = "" if named else f" ({row.weights})"
        table.add_row(escape(row.name + weights), *cells, style="dim" if row.control else "bold")
    notices = [Text(notice, style="bold yellow") for notice in result.notices]
    return Group(*notices, table, Text(_footnote(result)))


def _cell(estimate: Estimate, signed: bool = False) -> str:
    if estimate.mean is None:
        return "-"
    sign = "+" if signed else ""
    mean = f"{estimate.mean:{sign}.3f}"
    return mean if estimate.low is None else f"{mean} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def _footnote(result: Result) -> str:
    train, validation, test = result.parts.records
    lines = [
        f"{result.records} records of {result.groups} groups; {train} train, {validation} choose, {test} test; "
        f"mean and 95 % interval over {len(result.rows[0].repeats)} repeats.",
        "Classes: " + ", ".join(f"{name} {count}" for name, count in result.classes.items()),
    ]
    if result.dropped:
        lines.append("Too rare: " + ", ".join(f"{name} {count}" for name, count in result.dropped.items()))
    if result.unscored:
        lines.append("Without AUROC in some test parts: " + ", ".join(f"{k} ({n})" for k, n in result.unscored.items()))
    if result.unlabelled or result.absent:
        lines.append(f"{result.unlabelled} records without a label, {result.absent} labels without a record.")
    return "\n".join(lines)
