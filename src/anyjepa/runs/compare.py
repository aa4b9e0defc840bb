"""Compare runs: the settings that differ, how training went, and scores with paired differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from anyjepa.config import validated
from anyjepa.diagnostics.signs import main_columns
from anyjepa.errors import InputError
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.intervals import Estimate, paired_difference
from anyjepa.evaluation.result import Result
from anyjepa.evaluation.splits import Folds
from anyjepa.recipes.plain import flat
from anyjepa.runs.folder import Run, open_run
from anyjepa.runs.verdict import training_verdict
from anyjepa.training.metrics_file import read_metrics

UNIMPORTANT = ("name", "description", "based_on")  # settings that say nothing about a run


@dataclass(frozen=True)
class Score:
    """Macro AUROC of the first row of an evaluation, one per run, and its differences from the first run.

    None where a run lacks the evaluation, or tested other records.
    """

    evaluation: str  # in words
    scores: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Every value has one entry per run; None where it is missing."""

    runs: tuple[str, ...]
    settings: dict[str, tuple[Any, ...]]
    training: dict[str, tuple[Any, ...]]
    scores: tuple[Score, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table("", *self.runs, show_lines=True)
        for name, values in (*self.settings.items(), *self.training.items()):
            table.add_row(name, *(_text(value) for value in values))
        for score in self.scores:
            table.add_row(f"{score.evaluation}, macro AUROC", *map(_estimate, score.scores))
            table.add_row("minus the first run, paired", *(_estimate(d, "+") for d in score.differences))
        yield table


def compare(runs: Sequence[str | Path | Run]) -> Comparison:
    """Compare two or more runs with the first one.

    Differences are paired by repeat, with a 95 % t interval. There is no interval if all repeats test the same records,
    because a bootstrap over patients would need predictions, which results do not hold. Raises InputError for fewer
    than two runs, for a folder that is not a run, and for a damaged file in it.
    """
    opened = [run if isinstance(run, Run) else open_run(Path(run)) for run in runs]
    if len(opened) < 2:
        raise InputError("compare: pass at least two runs")
    recipes = [flat(run.recipe.model_dump(mode="json")) for run in opened]
    keys = [key for key in dict.fromkeys(key for recipe in recipes for key in recipe) if key not in UNIMPORTANT]
    settings = {key: tuple(recipe.get(key) for recipe in recipes) for key in keys}
    names = tuple(str(run.folder) for run in opened)
    differing = {key: values for key, values in settings.items() if any(value != values[0] for value in values)}
    return Comparison(names, differing, _training(opened), _scores(opened))


def _training(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """The newest value of each shown column, and the verdict."""
    newest: list[dict[str, float]] = []
    for run in runs:
        values: dict[str, float] = {}
        for row in read_metrics(run.folder / "metrics.csv"):
            values |= row
        newest.append(values)
    columns = dict.fromkeys(name for values in newest for name in values)
    shown = [name for name in ("step", *main_columns(columns)) if name in columns]
    table = {name: tuple(values.get(name) for values in newest) for name in shown}
    return {**table, "verdict": tuple(str(training_verdict(run)) for run in runs)}


def _scores(runs: Sequence[Run]) -> tuple[Score, ...]:
    """Evaluations with the same file name, which holds protocol, task, data and a digest of the settings."""
    results = [{path.stem: Result.from_json(path) for path in sorted(run.results.glob("*.json"))} for run in runs]
    titles = {stem: f"{result.heading} on {result.data}" for of_run in results for stem, result in of_run.items()}
    alike = Counter(titles.values())
    scores = []
    for stem, title in titles.items():
        name = title if alike[title] == 1 else f"{title} ({stem})"
        evaluated = [of_run.get(stem) for of_run in results]
        estimates = tuple(None if r is None else r.metric(r.rows[0], "macro_auroc") for r in evaluated)
        others = zip(runs[1:], evaluated[1:], strict=True)
        differences = (_difference(run.results / f"{stem}.json", result, evaluated[0]) for run, result in others)
        scores.append(Score(name, estimates, (None, *differences)))
    return tuple(scores)


def _difference(file: Path, result: Result | None, first: Result | None) -> Estimate | None:
    """Of a run minus the first one; None unless both have tested the same numbers of records in the same repeats."""
    if result is None or first is None or _repeats(result) != _repeats(first):
        return None
    a, b = ([repeat.metrics["macro_auroc"] for repeat in one.rows[0].repeats] for one in (result, first))
    if any(value is None for value in (*a, *b)):
        return None
    split = validated(EvaluationConfig, result.settings, f"{file}: settings").split or Folds()
    return result.shown(paired_difference(a, b, split.overlap))  # type: ignore[arg-type]


def _repeats(result: Result) -> tuple[object, ...]:
    places = tuple((repeat.seed, repeat.fold) for repeat in result.rows[0].repeats)
    return result.data, result.classes, result.parts, result.settings.get("split"), places


def _text(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _estimate(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None or estimate.mean is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"
    return f"{estimate.mean:{sign}.3f}{interval}"
