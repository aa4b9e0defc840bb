"""The results of runs as one data frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anyjepa.errors import InputError
from anyjepa.evaluation.result import Result
from anyjepa.runs.folder import Run, open_run

if TYPE_CHECKING:
    import pandas as pd


def results(*runs: Run | Path | str) -> pd.DataFrame:
    """Collect all evaluations of runs in one data frame, with one row per metric and class.

    The columns are run (its folder), result (name of the file), and those of `Result.table`. Raises InputError for a
    folder that is not a run, and if no run was evaluated.
    """
    import pandas as pd

    tables = []
    for run in (one if isinstance(one, Run) else open_run(Path(one)) for one in runs):
        for file in sorted(run.results.glob("*.json")):
            table = Result.from_json(file).table()
            table.insert(0, "run", str(run.folder))
            table.insert(1, "result", file.stem)
            tables.append(table)
    if not tables:
        raise InputError(f"results: {', '.join(str(run) for run in runs) or 'no run'}: was not evaluated yet")
    return pd.concat(tables, ignore_index=True)
