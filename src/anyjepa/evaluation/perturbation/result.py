"""What judging predictions of perturbations found, as JSON and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from anyjepa.config import Config
from anyjepa.evaluation.intervals import UNKNOWN, Estimate
from anyjepa.evaluation.perturbation.metrics import METRICS

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

HEADLINE = "pearson_vs_mean"
SIZES = ("small", "medium", "large")
_OF_MEANS = ("pearson_delta", HEADLINE, "top20_mse", "discrimination", "l2")
_OF_CELLS = ("energy_distance", "r2_variance", "de_overlap", "de_direction", "coverage")

Scores = dict[str, Estimate]


class Condition(Config):
    """One test condition of one split."""

    split: int
    name: str
    perturbed: tuple[str, ...]
    cells: int
    effect: float = Field(description="Euclidean length of the true change of the mean, log1p units")
    size: str = Field(description="small, medium or large: its third among the effects of all test conditions")


class JudgedRow(Config):
    """One method. Estimates are means over test conditions; `repeats` counts those that have the number."""

    name: str
    control: bool
    fits: int = Field(description="model seeds; a condition's score is their mean")
    unanswered: int = Field(description="test conditions that the method does not apply to; they are in no mean")
    scores: dict[str, tuple[float | None, ...]] = Field(description="of each test condition, by metric")
    metrics: Scores = Field(description="mean, and the 95 % bootstrap interval over conditions")
    by_size: dict[str, Scores] = Field(description="the same of small, medium and large effects")
    normalised: Scores = Field(
        default={},
        description="(this - baseline) / (ceiling - baseline) where all three have a number: 1 is the ceiling",
    )
    difference: Scores = Field(default={}, description="the first row minus this, paired by condition")


class Judgement(Config):
    """Predictions of perturbations beside their baselines. The first row is the one that is judged."""

    schema_version: Literal[1] = 1
    data: str = Field(description="what was judged on, in words")
    genes: int
    splits: int
    baseline: str = Field(description="the row at 0 of normalised scores")
    ceiling: str | None = Field(description="the row at 1; none: there were no cells to halve")
    conditions: tuple[Condition, ...]
    rows: tuple[JudgedRow, ...]
    notices: tuple[str, ...] = Field(description="what a reader must know first")
    environment: dict[str, str]

    def __str__(self) -> str:
        """The table that the command line prints."""
        from rich.console import Console

        console = Console(file=StringIO(), force_terminal=False, no_color=True)
        with console.capture() as text:
            console.print(render(self))
        return text.get()

    def row(self, name: str) -> JudgedRow:
        """A row by its name. Raises KeyError."""
        return {row.name: row for row in self.rows}[name]


def render(result: Judgement) -> Group:
    """The result for a terminal: notices, metrics of means, differences, metrics of cells, and what is behind it."""
    from rich.console import Group
    from rich.text import Text

    first = result.rows[0]
    tables = [_table(result, f"{result.data}: predicted changes of means", _OF_MEANS, lambda row: row.metrics)]
    if any(first.metrics.get(name, UNKNOWN).mean is not None for name in _OF_CELLS):
        tables.append(_table(result, "Cells and intervals", _OF_CELLS, lambda row: row.metrics))
    tables.append(_table(result, f"{first.name} minus this row", _OF_MEANS, lambda row: row.difference, sign="+"))
    names = len({condition.name for condition in result.conditions})
    lines = [
        f"{len(result.conditions)} test conditions ({names} names) of {result.splits} splits; {result.genes} genes.",
        "Intervals: 95 % over conditions (bootstrap), differences paired.",
    ]
    lines += [f"No answer for {row.unanswered} conditions: {row.name}." for row in result.rows if row.unanswered]
    return Group(*(Text(notice, style="bold yellow") for notice in result.notices), *tables, Text("\n".join(lines)))


def _table(
    result: Judgement, title: str, metrics: tuple[str, ...], of: Callable[[JudgedRow], Scores], sign: str = ""
) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.HORIZONTALS, show_lines=bool(sign), padding=0)
    table.add_column("")
    for name in metrics:
        arrow = {1: "more", -1: "less", 0: ""}[METRICS[name].better]
        table.add_column(METRICS[name].title.replace(" ", "\n", 1) + f"\n({arrow})" * bool(arrow), justify="right")
    for row in result.rows:
        cells = [_cell(of(row).get(name, UNKNOWN), sign) for name in metrics]
        if not sign or row is not result.rows[0]:
            table.add_row(escape(row.name), *cells, style="dim" if row.control else "bold")
    return table


def _cell(estimate: Estimate, sign: str) -> str:
    """The mean; of a difference its interval, too."""
    if estimate.mean is None:
        return "-"
    if not sign or estimate.bootstrap is None:
        return f"{estimate.mean:{sign}.3f}"
    low, high = estimate.bootstrap
    return f"{estimate.mean:{sign}.3f}\n{low:{sign}.3f} to {high:{sign}.3f}"
