"""Pretrain a recipe with many settings, each in its own run folder, and put the runs into one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from anyjepa.data.files import read_text
from anyjepa.diagnostics.verdict import Verdict
from anyjepa.errors import InputError, reason
from anyjepa.evaluation.intervals import Estimate, estimate
from anyjepa.evaluation.result import Result
from anyjepa.locking import locked
from anyjepa.recipes.grid import SEED, Point, names, points, read_axes, short_keys
from anyjepa.recipes.schema import Recipe, edited, load_recipe
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run, killed_before_it_began
from anyjepa.runs.labelled import LabelFile
from anyjepa.runs.objective import check_objective
from anyjepa.runs.pretrain import continued, pretrain
from anyjepa.runs.table_writing import write_table
from anyjepa.runs.verdict import training_verdict
from anyjepa.training.checkpoint_files import finished
from anyjepa.training.metrics_file import read_metrics
from anyjepa.training.module import CollapsedError, DivergedError
from anyjepa.writing import write_text

if TYPE_CHECKING:
    import pandas as pd

MOST = 120  # letters of an error in the table
FAILURE = "failure.txt"  # in a run folder: why training ended, where another try would end alike


@dataclass(frozen=True)
class Question:
    """How finished runs are scored with labels; without a task and labels, by the evaluation during training."""

    task: str | None = None
    labels: LabelFile | None = None
    protocol: str = "linear"

    def name(self, data: Sequence[Path]) -> str:
        """File name of the result, without its suffix."""
        what = (self.labels and self.labels.identity, [path.resolve() for path in data])
        digest = blake2b(repr(what).encode(), digest_size=4).hexdigest()
        return "-".join(["sweep", self.protocol, self.task or "labels", digest])

    def __str__(self) -> str:
        return f"macro AUROC ({self.protocol}, {self.task or 'labels'})"


@dataclass(frozen=True)
class Tried:
    """One run of a sweep. settings: values of the keys that vary. score: None if there is none."""

    folder: Path
    settings: Point
    state: str = "waiting"  # or finished, diverged, collapsed, failed
    loss: float | None = None
    score: float | None = None
    verdict: Verdict = Verdict(measured=False)  # noqa: RUF009
    error: str = ""

    @property
    def sound(self) -> bool:
        """Whether it may be the best: a score of a collapsed representation may rest on noise."""
        return self.state == "finished" and not self.verdict.collapsed and self.score is not None

    @property
    def words(self) -> str:
        """The verdict in short, or why it failed."""
        if self.error:
            return f"failed: {self.error[:MOST]}" if self.state == "failed" else self.state
        kinds = ", ".join(finding.kind for finding in self.verdict.findings)
        return kinds or ("no fault" if self.verdict.measured else "-")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only."""

    settings: Point
    runs: tuple[Tried, ...]

    @property
    def loss(self) -> Estimate:
        return estimate([run.loss for run in self.runs if run.loss is not None])

    @property
    def score(self) -> Estimate:
        return estimate([run.score for run in self.runs if run.score is not None], limits=(0, 1))

    @property
    def sound(self) -> bool:
        return all(run.sound for run in self.runs)


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep in their order. score: what the runs are scored by, in words; '' if by nothing."""

    folder: Path
    runs: tuple[Tried, ...]
    score: str = ""

    @property
    def groups(self) -> list[Group]:
        """Runs with the same settings but for the seed."""
        by: dict[str, list[Tried]] = {}
        for run in self.runs:
            by.setdefault(repr(_without_seed(run.settings)), []).append(run)
        return [Group(_without_seed(some[0].settings), tuple(some)) for some in by.values()]

    @property
    def best(self) -> Group | None:
        """The settings with the largest mean score, if all of their runs finished and none collapsed."""
        sound = [group for group in self.groups if group.sound]
        return max(sound, key=lambda group: group.score.mean or 0.0) if sound else None

    def plain(self) -> list[dict[str, Any]]:
        """A row per run, for JSON: the settings that vary, loss, score, state, verdict, error and folder."""
        return [
            {
                **run.settings, "loss": run.loss if run.loss is not None and isfinite(run.loss) else None,
                "score": run.score, "state": run.state, "verdict": str(run.verdict) if run.verdict.measured else "",
                "error": run.error, "folder": run.folder.name,
            }
            for run in self.runs
        ]  # fmt: skip

    def table(self) -> pd.DataFrame:
        """The same as a table."""
        import pandas as pd

        return pd.DataFrame(self.plain())

    def summary(self) -> pd.DataFrame:
        """A row per setting over seeds: mean loss, and mean score with its 95 % t interval."""
        import pandas as pd

        rows = [
            {
                **group.settings, "runs": len(group.runs), "loss": group.loss.mean, "score": group.score.mean,
                "low": group.score.low, "high": group.score.high, "sound": group.sound,
            }
            for group in self.groups
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def write(self) -> None:
        """Write runs.csv, and seeds.csv if the seed varies, into the folder of the sweep."""
        write_table(self.folder / "runs.csv", self.table())
        if len(self.groups) < len(self.runs):
            write_table(self.folder / "seeds.csv", self.summary())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        keys = [key for key in self.groups[0].settings if key != SEED] if self.runs else []
        several, best = len(self.groups) < len(self.runs), self.best
        head = (*short_keys(keys).values(), *(["seeds"] if several else []), "loss", self.score or "score", "verdict")
        table = Table("", *head, show_lines=True)
        for group in self.groups:
            verdicts = dict.fromkeys(run.words for run in group.runs)
            counted = [
                f"{sum(run.words == words for run in group.runs)} of {len(group.runs)}: {words}" if several else words
                for words in verdicts
            ]
            table.add_row(
                "best" if best is not None and group.settings == best.settings else "",
                *(str(group.settings[key]) for key in keys),
                *([str(len(group.runs))] if several else []),
                _mean(group.loss, ".4g"),
                _mean(group.score, ".3f"),
                "\n".join(counted),
            )
        yield table


def sweep(
    recipe: str | Path,
    settings: Sequence[str] | Mapping[str, Sequence[Any]],
    data: Sequence[Path | str] = (),
    output: Path | str | None = None,
    *,
    random: int | None = None,
    seed: int = 0,
    hold_out: float | None = None,
    split: Path | str | None = None,
    question: Question | None = None,
    progress: Callable[[str], None] | None = None,
    done: Callable[[Run], object] = lambda run: None,
) -> Sweep:
    """Pretrain a recipe with every combination of values, or a random choice of them, and score the runs.

    settings: see `read_axes`. output: folder of the sweep, by default `runs/<recipe>-sweep`; each run is in a folder of
    it that is named by its settings. The same call resumes a sweep: finished runs stay as they are, an unfinished one
    continues from its checkpoint with the same result. A run that fails is in the table with its error, and the others
    go on; one that diverged or collapsed is not tried again unless its failure.txt is deleted. random, seed: see
    `points`. hold_out, split: see `pretrain`. question: how runs are scored with labels. progress: called with a line
    per run; None also hides the progress of trainings. done: called with each finished run.

    Raises InputError for settings that do not fit the recipe, before anything is trained; if the folder has runs with
    other settings or data; if the question cannot be answered; and if all runs fail with the same InputError.
    """
    paths = [Path(path) for path in data]
    axes = read_axes(settings)
    base, _ = load_recipe(recipe)
    chosen = points(axes, random, seed)
    varying = [key for key, values in axes.items() if len(values) > 1]
    folder = Path(output) if output else Path("runs") / f"{base.name}-sweep"
    runs = []
    for name, point in zip(names(axes, chosen), chosen, strict=True):
        run = Run(folder / name, _recipe(base, point, name))
        _check(run, paths)
        runs.append((run, Tried(run.folder, {key: point[key] for key in varying})))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", f"{folder}: another process sweeps here; wait until it finishes"):
        how = {"hold_out": hold_out, "split": split, "progress": progress is not None}
        result = Sweep(folder, tuple(tried for _, tried in runs), str(question or _online(runs[0][0].recipe)))
        for place, (run, tried) in enumerate(runs):
            if progress:
                progress(f"run {place + 1} of {len(runs)}: {run.folder.name}")
            tried = _train(run, tried, paths, how)
            if tried.state == "finished":
                tried = _scored(run, tried, paths, question)
                done(run)
            result = replace(result, runs=(*result.runs[:place], tried, *result.runs[place + 1 :]))
            result.write()
    errors = {run.error for run in result.runs}
    if all(run.state == "failed" for run in result.runs) and len(errors) == 1:
        raise InputError(f"{folder}: every run failed: {errors.pop()}")
    return result


def _recipe(base: Recipe, point: Point, name: str) -> Recipe:
    """The recipe of one run. Raises InputError if its settings do not fit together."""
    recipe, _ = edited(base, point, f"{base.name}, {name}")
    try:
        check_objective(recipe)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return recipe


def _check(run: Run, data: Sequence[Path]) -> None:
    """Raise InputError if the folder has a run with other settings, or of other data."""
    if not run.begun:
        return
    continued(run.recipe, run.folder)
    before, now = run.environment()["data"]["paths"], [str(path) for path in data] or ["embedded"]
    if before != now:
        raise InputError(
            f"{run.folder}: was trained on {', '.join(before)}, not on {', '.join(now)}; pass another --output"
        )


def _train(run: Run, tried: Tried, data: Sequence[Path], how: Mapping[str, Any]) -> Tried:
    """The run after its training, which is skipped if it ended before."""
    failure = run.folder / FAILURE
    if failure.exists():
        state, _, error = read_text(failure).strip().partition(": ")
        return _measured(run, replace(tried, state=state, error=error))
    saved = (run.model / "config.json").exists() and (run.folder / "training_records.json").exists()
    if saved and finished(run.folder / "checkpoints", run.recipe.training.steps):
        return _measured(run, replace(tried, state="finished"))
    try:
        pretrain(run.recipe, data, run.folder, resume=run.begun or killed_before_it_began(run.folder), **how)
    except (DivergedError, CollapsedError) as error:
        state = "diverged" if isinstance(error, DivergedError) else "collapsed"
        write_text(failure, f"{state}: {reason(error)}\n")
        return _measured(run, replace(tried, state=state, error=reason(error)))
    except Exception as error:
        return replace(tried, state="failed", error=reason(error))
    return _measured(run, replace(tried, state="finished"))


def _measured(run: Run, tried: Tried) -> Tried:
    """With the newest loss, the verdict and the score of the evaluation during training."""
    rows, name = read_metrics(run.folder / "metrics.csv"), _online(run.recipe)
    losses, scores = ([row[key] for row in rows if key in row] for key in ("loss", name))
    return replace(
        tried,
        loss=losses[-1] if losses else None,
        score=scores[-1] if scores and isfinite(scores[-1]) else None,
        verdict=training_verdict(run),
    )


def _online(recipe: Recipe) -> str:
    """The column of the evaluation during training; '' if there is none."""
    return f"online_{recipe.training.online.best}" if recipe.training.online else ""


def _scored(run: Run, tried: Tried, data: Sequence[Path], question: Question | None) -> Tried:
    if question is None:
        return tried
    name = question.name(data)
    file = run.results / f"{name}.json"
    if file.exists():
        result = Result.from_json(file)
    else:
        how = {"protocol": question.protocol, "task": question.task, "labels": question.labels}
        result = evaluate(run, data, name=name, **how)
    return replace(tried, score=result.metric(result.rows[0], "macro_auroc").mean)


def _without_seed(settings: Point) -> Point:
    return {key: value for key, value in settings.items() if key != SEED}


def _mean(value: Estimate, form: str) -> str:
    if value.mean is None:
        return "-"
    interval = "" if value.low is None else f" [{value.low:{form}}, {value.high:{form}}]"
    return f"{value.mean:{form}}{interval}"
