"""Scores of predicted perturbations, as JSON and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from anyjepa.config import Config, validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.perturbation.scoring.metrics import METRICS

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

HEADLINE = "pearson_vs_mean"
SIZES = ("small", "medium", "large")
_OF_MEANS = ("pearson_delta", HEADLINE, "top20_mse", "discrimination", "l2")
_OF_DIFFERENCES = (HEADLINE, "top20_mse", "l2")  # 80 columns have room for three intervals; the JSON has all
_OF_CELLS = ("energy_distance", "r2_variance", "de_overlap", "de_direction", "coverage")

Scores = dict[str, Estimate]
Columns = dict[str, Callable[["MethodRow"], Estimate]]


class Condition(Config):
    """One test condition of one split."""

    split: int
    name: str
    perturbed: tuple[str, ...]
    cells: int
    effect: float = Field(description="Euclidean length of the true change of the mean, log1p units")
    size: str = Field(description="small, medium or large: the third of all test effects that it belongs to")


class MethodRow(Config):
    """One method. Estimates are means over test conditions; `repeats` counts those with a value."""

    name: str
    control: bool
    fits: int = Field(description="number of model seeds; a condition's score is their mean")
    unanswered: int = Field(description="number of test conditions without a prediction; means exclude them")
    scores: dict[str, tuple[float | None, ...]] = Field(description="scores of each test condition, by metric")
    metrics: Scores = Field(description="mean and 95 % bootstrap interval over conditions")
    by_size: dict[str, Scores] = Field(description="the same for small, medium and large effects")
    normalised: Scores = Field(
        default={},
        description="(this - baseline) / (ceiling - baseline) where all three have a value; 1 is the ceiling",
    )
    difference: Scores = Field(default={}, description="the first row minus this one, paired by condition")


class Places(Config):
    """Changes of the test conditions on the first two principal axes of the true ones; the origin means no change."""

    explained: tuple[float, float] = Field(description="share of the squared length of the true changes on each axis")
    true: tuple[tuple[float, float], ...] = Field(description="true change of each condition")
    predicted: tuple[tuple[float | None, float | None], ...] = Field(
        description="change predicted by the first row, mean over its fits"
    )


class PerturbationResult(Config):
    """Scores of methods that predict perturbations, next to baselines. All rows are compared with the first."""

    schema_version: Literal[1] = 1
    data: str = Field(description="the data, in words")
    genes: int
    splits: int
    baseline: str = Field(description="the row with a normalised score of 0")
    ceiling: str | None = Field(
        description="the row with a normalised score of 1; none: the data have no cells to split in half"
    )
    conditions: tuple[Condition, ...]
    places: Places | None = Field(
        default=None, description="none: fewer than two conditions or genes, or different genes in each split"
    )
    decoded: dict[str, float] = Field(
        default={},
        description="Pearson delta of the measured means after decoding each representation; not a prediction",
    )
    left_out: int = Field(
        default=0, description="number of test conditions whose ceiling is no better than the baseline"
    )
    rows: tuple[MethodRow, ...]
    notices: tuple[str, ...] = Field(description="notices for the reader")
    environment: dict[str, str]

    def __str__(self) -> str:
        """The table that the command line prints."""
        from anyjepa.terminal import as_text

        return as_text(self)

    def __rich__(self) -> Group:
        return render(self)

    @classmethod
    def from_json(cls, path: str | Path) -> PerturbationResult:
        """Read a stored result. Raises InputError, which names the first problem."""
        where = f"{path}: not a result of perturbation prediction"
        result = validated(cls, read_json(Path(path)), where)
        for place, row in enumerate(result.rows):
            complete = HEADLINE in row.metrics and (place == 0 or HEADLINE in row.difference)
            if not complete or len(row.scores.get(HEADLINE, ())) != len(result.conditions):
                raise InputError(f"{where}: row '{row.name}' lacks scores, or does not match the list of conditions")
        places = result.places
        if places and {len(places.true), len(places.predicted)} != {len(result.conditions)}:
            raise InputError(f"{where}: 'places' does not match the list of conditions")
        if not result.rows:
            raise InputError(f"{where}: there are no rows")
        return result

    def row(self, name: str) -> MethodRow:
        """Return a row by name. Raises KeyError."""
        return {row.name: row for row in self.rows}[name]


def answered_rows(result: PerturbationResult) -> list[MethodRow]:
    """The first row, and all others with a prediction for at least one condition."""
    return [row for row in result.rows if row is result.rows[0] or row.unanswered < len(result.conditions)]


def render(result: PerturbationResult, brief: bool = False) -> Group:
    """Render the result for a terminal: notices, metrics of means, differences, metrics of cells, and a summary.

    brief: of the tables, only the metrics of means.
    """
    from rich.console import Group
    from rich.text import Text

    first, short = result.rows[0], METRICS[HEADLINE].title
    tables = [_table(result, f"{result.data}: predicted changes of means", {_head(m): _metric(m) for m in _OF_MEANS})]
    cells = {_head(m): _metric(m) for m in _OF_CELLS if first.metrics.get(m, UNKNOWN).mean is not None}
    if cells:
        tables.append(_table(result, "Cells and intervals", cells))
    by_size: Columns = {f"{size}\neffects": lambda row, size=size: row.by_size[size][HEADLINE] for size in SIZES}
    if result.ceiling:
        by_size["of the way\nto the ceiling"] = lambda row: row.normalised[HEADLINE]
    tables.append(_table(result, short, by_size))
    differences: Columns = {_head(m): lambda row, m=m: row.difference.get(m, UNKNOWN) for m in _OF_DIFFERENCES}
    tables.append(_table(result, f"{first.name} minus this row", differences, sign="+"))
    names = len({condition.name for condition in result.conditions})
    lines = [
        f"{len(result.conditions)} test conditions ({names} names) in {result.splits} splits; {result.genes} genes.",
        "95 % bootstrap intervals over conditions; differences are paired.",
    ]
    if result.left_out:
        lines.append(f"Excluded: {result.left_out} with a ceiling no better than {result.baseline}.")
    if result.decoded:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in result.decoded.items())
        lines.append(f"Pearson delta of the measured means after decoding each representation: {shown}.")
    lines += [f"{row.name}: no prediction for {row.unanswered} conditions." for row in result.rows if row.unanswered]
    return Group(
        *(Text(notice, style="bold yellow") for notice in result.notices),
        *tables[: 1 if brief else None],
        Text("\n".join(lines)),
    )


def _metric(name: str) -> Callable[[MethodRow], Estimate]:
    return lambda row: row.metrics.get(name, UNKNOWN)


def _head(name: str) -> str:
    better = {1: "\n(more)", -1: "\n(less)", 0: ""}[METRICS[name].better]
    return METRICS[name].title.replace(" ", "\n", 1) + better


def _table(result: PerturbationResult, title: str, columns: Columns, sign: str = "") -> Table:
    """sign: for differences, which the first row does not have."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=bool(sign), padding=0)
    table.add_column("")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in answered_rows(result)[bool(sign) :]:
        cells = [_cell(of(row), sign) for of in columns.values()]
        table.add_row(row.name, *cells, style="dim" if row.control else "bold")
    return table


def _cell(estimate: Estimate, sign: str) -> str:
    """The mean; for a difference, also its interval."""
    if estimate.mean is None:
        return "-"
    if not sign or estimate.bootstrap is None:
        return f"{estimate.mean:{sign}.3f}"
    low, high = estimate.bootstrap
    return f"{estimate.mean:{sign}.3f}\n{low:{sign}.2f} to {high:{sign}.2f}"
