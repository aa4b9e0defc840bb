"""The result of scoring proteins predicted from expression, as JSON and as a table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from anyjepa.config import Config, validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from rich.console import Group

METRICS = {"r2": "R2", "rank": "own rank", "first": "own first"}
"""R2: relative to the training mean, averaged over proteins. Own rank and own first: compared with other cells."""


Over = Literal["cells", "donors"]


class ProteinRow(Config):
    """One way to predict proteins from expression."""

    name: str
    by_protein: tuple[float, ...] | None = Field(
        description="R2 of each protein; none: the row is evaluated by matching only"
    )
    metrics: dict[str, Estimate] = Field(description="estimates with 95 % bootstrap intervals")
    difference: dict[str, Estimate] = Field(default={}, description="the first row minus this one, paired")


class ProteinResult(Config):
    """Scores of proteins predicted from expression. The first row is the model; the others are compared with it."""

    schema_version: Literal[1] = 1
    data: str = Field(description="the data, in words")
    proteins: tuple[str, ...]
    left_out: tuple[str, ...] = Field(
        default=(), description="proteins that are constant in the training or the test cells"
    )
    cells: tuple[int, int] = Field(description="number of training cells of the ridge, and of test cells")
    group: int = Field(description="number of cells among which a cell must be recognised by its proteins")
    over: Over = Field(description="what the intervals resample")
    rows: tuple[ProteinRow, ...] = Field(min_length=1)
    notices: tuple[str, ...] = Field(default=(), description="notices for the reader")
    environment: dict[str, str]

    def __str__(self) -> str:
        """The table that the command line prints."""
        from anyjepa.terminal import as_text

        return as_text(self)

    def __rich__(self) -> Group:
        return render(self)

    @classmethod
    def from_json(cls, path: str | Path) -> ProteinResult:
        """Read a stored result. Raises InputError, which names the first problem."""
        where = f"{path}: not a result of protein prediction"
        result = validated(cls, read_json(Path(path)), where)
        for place, row in enumerate(result.rows):
            if not _whole(row, len(result.proteins), compared=bool(place)):
                raise InputError(f"{where}: row '{row.name}' lacks scores, or does not match the list of proteins")
        return result

    @property
    def behind(self) -> str:
        """Describe what the numbers mean."""
        train, test = self.cells
        return (
            f"{len(self.proteins)} proteins; ridge regression fitted on {train:,} cells and tested on {test:,} others. "
            "R2: mean over proteins; predicting the training mean gives 0. Own rank: share of other cells whose "
            "proteins are farther from the prediction than the cell's own (0.5 by chance). Own first: share of cells "
            f"whose own proteins are the nearest among {self.group}. Differences are paired, with 95 % bootstrap "
            f"intervals over {self.over}."
            + (f" Excluded because they do not vary: {', '.join(self.left_out)}." if self.left_out else "")
        )


def _whole(row: ProteinRow, proteins: int, compared: bool) -> bool:
    """Whether a row has every number that the table shows. Only rows after the first may lack R2."""
    without = row.by_protein is None and compared
    if not without and (len(row.by_protein or ()) != proteins or not proteins):
        return False
    expected = [name for name in METRICS if not without or name != "r2"]
    stored = [*row.metrics.items(), *(row.difference.items() if compared else ())]
    there = [name for name, one in stored if name in expected and one.mean is not None and np.isfinite(one.mean)]
    return sorted(there) == sorted(expected * (1 + compared)) and bool(np.isfinite(row.by_protein or ()).all())


def render(result: ProteinResult) -> Group:
    """Render the result for a terminal: notices, a table, and an explanation."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = f"{result.data}: proteins predicted from expression"
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, padding=0)
    table.add_column("")
    for heading in (*METRICS.values(), "R2, first row minus this"):
        table.add_column(heading, justify="right")
    for place, row in enumerate(result.rows):
        shown = [f"{row.metrics[name].mean:.3f}" if name in row.metrics else "-" for name in METRICS]
        table.add_row(row.name, *shown, _interval(row.difference.get("r2")), style="dim" if place else "bold")
    notices = (Text(notice, style="bold yellow") for notice in result.notices)
    return Group(*notices, table, Text(result.behind))


def _interval(gain: Estimate | None) -> str:
    if gain is None or gain.mean is None:
        return ""
    shown = "" if gain.bootstrap is None else f" ({gain.bootstrap[0]:+.3f} to {gain.bootstrap[1]:+.3f})"
    return f"{gain.mean:+.3f}{shown}"
