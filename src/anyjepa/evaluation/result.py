"""The result of an evaluation, as JSON with a schema and as a table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from anyjepa.config import Config, validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError
from anyjepa.evaluation.calibration import Reliability
from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from rich.console import Group
    from rich.table import Table

SCHEMA_VERSION = 2
WHAT = ("records", "patients")
TITLES = {
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_ece": "macro ECE",
    "macro_brier": "macro Brier",
}
PROTOCOLS = {
    "linear": "linear probe",
    "knn": "nearest neighbours",
    "attentive": "attentive probe",
    "finetune": "fine-tuning",
    "supervised": "training from scratch",
    "dense": "linear probe on single tokens",
}
EVENTS = "Onsets and offsets within 150 ms: error in ms (mean ± sd), sensitivity, positive predictive value"
EVENT_HEAD = ("", "class", "onset", "Se", "PPV", "offset", "Se", "PPV")
_IN_TERMINAL = {  # as many as fit into 80 columns; the report shows all
    True: ("accuracy", "macro_f1", "macro_ece"),  # exclusive classes
    False: ("macro_auprc", "macro_f1", "macro_ece"),
}


class Repeat(Config):
    """One row on one test part. None: undefined, such as the AUROC of a class without positives."""

    seed: int
    fold: int
    metrics: dict[str, float | None]
    class_metrics: dict[str, dict[str, float | None]] = Field(description="metrics of each class")
    thresholds: dict[str, float | None] | None = Field(
        default=None,
        description="threshold of each class with the largest F1 on validation data; null for a class: it has no "
        "positives there and 0.5 is used; null: the most probable class is predicted",
    )
    chosen: dict[str, float] = Field(description="settings chosen on validation data: strength, steps")


class Row(Config):
    """One row: an encoder or a control."""

    name: str
    control: bool
    weights: str = Field(description="teacher, student, random or none")
    transductive: bool | None = Field(description="whether pretraining saw test records; null: unknown")
    spread: float | None = Field(
        default=None, description="deviation of the features over training records, as a share of their length"
    )
    repeats: tuple[Repeat, ...]
    metrics: dict[str, Estimate] = Field(
        description="mean, 95 % t interval over repeats, bootstrap interval over groups"
    )
    class_metrics: dict[str, dict[str, Estimate]] = Field(description="the same for each class, by metric")
    reliability: Reliability | None = Field(default=None, description="pooled over all classes and test parts")
    class_reliability: dict[str, Reliability] = Field(default={}, description="pooled over all test parts")

    @property
    def title(self) -> str:
        """Name of the row, with the weights that a pretrained encoder used."""
        named = self.weights in ("none", "random") or self.weights in self.name
        return self.name if named else f"{self.name} ({self.weights})"


class Difference(Config):
    """Difference between the first row and another."""

    minus: str
    metric: str
    estimate: Estimate = Field(
        description="difference paired by seed and fold; the bootstrap interval is paired by group"
    )


class Parts(Config):
    """Records and groups of the training, validation and test parts in the first repeat, after low-shot."""

    records: tuple[int, int, int]
    groups: tuple[int, int, int]


class Result(Config):
    """One evaluation: a protocol on a task, with controls."""

    schema_version: Literal[2] = SCHEMA_VERSION
    task: str
    data: str = Field(description="name of the data")
    what: tuple[str, str] = Field(default=WHAT, description="words for records and for groups")
    protocol: str
    preset: str = Field(default="", description="name of the published protocol whose settings these are")
    settings: dict[str, Any] = Field(description="the full config of the evaluation")
    exclusive: bool = Field(description="whether each record has exactly one class")
    classes: dict[str, int] = Field(description="number of records of each evaluated class")
    dropped: dict[str, int] = Field(description="classes excluded because they are too rare, with their records")
    unscored: dict[str, int] = Field(description="classes without an AUROC in some test parts, with their number")
    without_positives: dict[str, dict[str, int]] = Field(
        default={}, description="classes without positives by part (train, validation, test), with their repeats"
    )
    records: int
    groups: int
    unlabelled: int = Field(description="number of records without a label")
    absent: int = Field(description="number of labelled ids without data")
    examples: dict[str, tuple[str, ...]] = Field(default={}, description="the first unlabelled and absent ids")
    parts: Parts
    rows: tuple[Row, ...]
    intervals: Literal["repeats", "patients"] = Field(
        default="repeats",
        description="which 95 % intervals to show: t over repeats, or the bootstrap over groups (patients) "
        "if all repeats have the same test part",
    )
    differences: tuple[Difference, ...]
    notices: tuple[str, ...] = Field(description="warnings for the reader, such as transductive pretraining")
    environment: dict[str, str]

    def __str__(self) -> str:
        """The table that the command line prints."""
        from anyjepa.terminal import as_text

        return as_text(self)

    def __rich__(self) -> Group:
        return render(self)

    @property
    def basis(self) -> str:
        """Kind of the intervals shown, such as '95 % t over 15 repeats'."""
        if self.intervals == "patients":
            return f"95 % over {self.what[1]} (bootstrap)"
        return f"95 % t over {len(self.rows[0].repeats)} repeats"

    @property
    def size(self) -> str:
        """Size of the data, such as '2,750 ECGs of 1,100 patients'."""
        records, groups = self.what
        return f"{self.records:,} {records}" + (f" of {self.groups:,} {groups}" if groups != records else "")

    @property
    def missing_label(self) -> str:
        """What `unlabelled` records do not have."""
        return "exactly one class" if self.exclusive and self.protocol != "dense" else "a label"

    @property
    def title(self) -> str:
        """Title, such as 'attentive probe (ecg-linear)'."""
        return PROTOCOLS.get(self.protocol, self.protocol) + (f" ({self.preset})" if self.preset else "")

    @property
    def heading(self) -> str:
        """What was evaluated, such as 'Linear probe of rhythm, 5 labels per class'."""
        low_shot = self.settings.get("low_shot")
        if low_shot is None:
            labels = ""
        elif self.protocol == "dense":
            amount = low_shot if isinstance(low_shot, int) else f"{low_shot:.0%} of the"
            labels = f", labels of {amount} {self.what[1]}"
        elif isinstance(low_shot, int):
            labels = f", {low_shot} labels per class"
        else:
            labels = f", {low_shot:.0%} of the labels"
        return f"{self.title[:1].upper() + self.title[1:]} of {self.task}{labels}"

    def metric(self, row: Row, name: str, label: str | None = None) -> Estimate:
        """A metric of a row, overall or of one class, with its interval."""
        metrics = row.metrics if label is None else row.class_metrics.get(name, {})
        return self.shown(metrics.get(label or name, UNKNOWN))

    def difference(self, row: Row) -> Estimate:
        """Macro AUROC of the first row minus that of this row, with its interval; unknown for the first row."""
        matches = (difference.estimate for difference in self.differences if difference.minus == row.name)
        return self.shown(next(matches, UNKNOWN))

    def table(self) -> pd.DataFrame:
        """One row per row of the result, metric and class: its mean over repeats and the limits of its interval.

        Columns: task, protocol, data, row, control, metric, class (None: macro mean or overall), mean, low, high (NaN
        if undefined) and repeats.
        """
        import pandas as pd

        about = {"task": self.task, "protocol": self.preset or self.protocol, "data": self.data}
        entries = []
        for row in self.rows:
            estimates = [(metric, None, estimate) for metric, estimate in row.metrics.items()]
            estimates += [(m, label, estimate) for m, of in row.class_metrics.items() for label, estimate in of.items()]
            for metric, label, estimate in estimates:
                shown = self.shown(estimate)
                values = {"mean": shown.mean, "low": shown.low, "high": shown.high, "repeats": shown.repeats}
                entries.append(
                    about | {"row": row.name, "control": row.control, "metric": metric, "class": label} | values
                )
        return pd.DataFrame(entries).astype({"mean": float, "low": float, "high": float})

    def event_rows(self) -> list[list[str]]:
        """Row, class, and for onsets and offsets the error (mean and standard deviation, ms), sensitivity and PPV.

        Means over repeats; empty for results without events in time.
        """

        def cells(row: Row, point: str, event: str) -> list[str]:
            means = [
                row.class_metrics[f"{point}_{name}"][event].mean for name in ("error_ms", "sd_ms", "sensitivity", "ppv")
            ]
            error, deviation, *shares = (float("nan") if mean is None else mean for mean in means)
            return [f"{error:+.0f} ± {deviation:.0f}", *(f"{share:.3f}" for share in shares)]

        return [
            [row.title, event, *cells(row, "onset", event), *cells(row, "offset", event)]
            for row in self.rows
            for event in row.class_metrics.get("onset_ppv", {})
        ]

    def shown(self, estimate: Estimate) -> Estimate:
        """The estimate with the kind of interval in `intervals`; without one if its width is 0.

        Repeats that are equal, on one test part, have a t interval of width 0, which would suggest certainty.
        """
        over_patients = self.intervals == "patients"
        low, high = (estimate.bootstrap or (None, None)) if over_patients else (estimate.low, estimate.high)
        if low is None or high is None or high - low < 1e-9:
            low = high = None
        return Estimate(estimate.mean, low, high, estimate.repeats)

    def to_json(self, path: str | Path | None = None) -> str:
        """The result as JSON text; writes it to `path`, too, unless that is None."""
        text = self.model_dump_json(indent=2) + "\n"
        if path is not None:
            write_text(Path(path), text)
        return text

    @classmethod
    def from_json(cls, path: str | Path) -> Result:
        """Read a result file. Raises InputError if it is not valid."""
        where = f"{path}: not a result of anyjepa evaluate"
        raw = read_json(Path(path))
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise InputError(f"{path}: schema_version {version} was written by a newer anyjepa; update anyjepa")
        return validated(cls, raw, where)


def render(result: Result) -> Group:
    """The result for a terminal: notices, a table of rows, and notes on the data and the intervals."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    others = [name for name in _IN_TERMINAL[result.exclusive] if name in result.rows[0].metrics]
    title = f"{result.task}: {result.title} on {result.data}"
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=True, collapse_padding=True)
    table.add_column("")
    for heading in ("macro\nAUROC", "first row\nminus this row", *(TITLES[name].replace(" ", "\n") for name in others)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        cells = [_cell(result.metric(row, "macro_auroc")), _cell(result.difference(row), signed=True)]
        cells += [_mean(row.metrics[name]) for name in others]
        table.add_row(row.title, *cells, style="dim" if row.control else "bold")
    notices = [Text(notice, style="bold yellow") for notice in result.notices]
    return Group(*notices, table, *_events(result), Text(_footnote(result)))


def _events(result: Result) -> Iterator[Table]:
    """Onsets and offsets of events, if the result has them."""
    from rich import box
    from rich.table import Table

    if not (rows := result.event_rows()):
        return
    table = Table(title=EVENTS, title_justify="left", box=box.HORIZONTALS, collapse_padding=True, padding=(0, 1, 0, 0))
    for heading in EVENT_HEAD:
        table.add_column(heading, justify="left" if heading in ("", "class") else "right", no_wrap=heading != "")
    for row in rows:
        table.add_row(*row)
    yield table


def _cell(estimate: Estimate, signed: bool = False) -> str:
    """The mean with the interval on a second line, so that the table fits into 80 columns."""
    sign = "+" if signed else ""
    interval = "" if estimate.low is None else f"\n{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"
    return _mean(estimate, sign) + interval


def _mean(estimate: Estimate, sign: str = "") -> str:
    return "-" if estimate.mean is None else f"{estimate.mean:{sign}.3f}"


def _footnote(result: Result) -> str:
    train, validation, test = result.parts.records
    lines = [
        f"{result.size}: {train:,} for training, {validation:,} for validation, {test:,} for testing.",
        f"Repeats: {len(result.rows[0].repeats)}. Intervals: {result.basis}; differences are paired.",
        "Classes: " + ", ".join(f"{name} {count}" for name, count in result.classes.items()),
    ]
    if result.protocol not in ("finetune", "supervised") and (precision := result.settings.get("precision")):
        lines.append(f"Features in {'bf16' if precision == 'bf16' else 'float32'}.")
    if spreads := [f"{row.title} {row.spread:.2g}" for row in result.rows if row.spread is not None]:
        lines.append("Spread of the features over records, as a share of their length: " + ", ".join(spreads))
    if result.dropped:
        lines.append("Excluded as too rare: " + ", ".join(f"{name} {count}" for name, count in result.dropped.items()))
    if result.unscored:
        lines.append("Without AUROC in some test parts: " + ", ".join(f"{k} ({n})" for k, n in result.unscored.items()))
    lines += [
        f"Without positives in some {part} parts: " + ", ".join(f"{name} ({count})" for name, count in classes.items())
        for part, classes in result.without_positives.items()
        if part != "test"
    ]
    for count, what, kind in (
        (result.unlabelled, f"{result.what[0]} without {result.missing_label}", "unlabelled"),
        (result.absent, f"labels without {result.what[0]}", "absent"),
    ):
        if count:
            lines.append(f"{count} {what}{first_of(result.examples.get(kind, ()), count)}")
    return "\n".join(lines)


def first_of(names: tuple[str, ...], count: int) -> str:
    """End of a sentence with the first of `count` names, such as ': a, b, ...'; '.' if there are no names."""
    return f": {', '.join(names)}{', ...' if count > len(names) else '.'}" if names else "."
