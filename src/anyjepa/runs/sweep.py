"""Pretrain a recipe with many settings, each in its own run folder, and list the runs in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any

from anyjepa.data.files import read_text
from anyjepa.errors import InputError, reason
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.result import Result
from anyjepa.locking import locked
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import HEADLINE, PerturbationResult
from anyjepa.recipes.grid import Point, names, points, read_axes
from anyjepa.recipes.schema import Recipe, edited, load_recipe
from anyjepa.runs.cells.evaluate_perturbations import evaluate_perturbations
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run, killed_before_it_began
from anyjepa.runs.labelled import LabelFile
from anyjepa.runs.objective import check_objective
from anyjepa.runs.pretrain import continued, held_out, pretrain
from anyjepa.runs.sweep_result import Sweep, Trial
from anyjepa.runs.verdict import training_verdict
from anyjepa.training.checkpoint_files import finished
from anyjepa.training.metrics_file import read_metrics
from anyjepa.training.module import CollapsedError, DivergedError
from anyjepa.writing import write_text

PERTURBATION = "perturbation"  # protocol of models of cells
FAILURE = "failure.txt"  # in a run folder: why training ended, if it would end in the same way again


@dataclass(frozen=True)
class Scoring:
    """How finished runs are scored. labels: a label file; None: those of the data, by `task`.

    The protocol 'perturbation' needs no labels: it scores how well a model of cells predicts held-out perturbations.
    """

    task: str | None = None
    labels: LabelFile | None = None
    protocol: str = "linear"

    def __post_init__(self) -> None:
        if self.protocol == PERTURBATION and (self.task or self.labels):
            raise InputError("sweep: --protocol perturbation needs neither --task nor --labels")

    def name(self, data: Sequence[Path], settings: EvaluationConfig) -> str:
        """File name of the result, without its suffix; other settings of the recipe have another name."""
        what = (self.labels and self.labels.identity, [path.resolve() for path in data], settings.model_dump())
        return "-".join(["sweep", self.protocol, self.task or "labels", _digest(what)])

    def __str__(self) -> str:
        if self.protocol == PERTURBATION:
            return METRICS[HEADLINE].title
        return f"macro AUROC ({self.protocol}, {self.task or 'labels'})"


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
    scoring: Scoring | None = None,
    progress: Callable[[str], None] | None = None,
    done: Callable[[Run], object] = lambda run: None,
) -> Sweep:
    """Pretrain a recipe with every combination of values, or a random choice of them, and score the runs.

    settings: values by key; see `read_axes`.
    output: folder of the sweep, by default `runs/<recipe>-sweep`; each run has a subfolder named after its settings.
    random, seed: see `points`.
    hold_out, split: see `pretrain`.
    scoring: how runs are scored with labels; by default with the evaluation during training, if there is one.
    progress: called with one line per run; None also hides the progress of training.
    done: called with each finished run.

    The same call resumes a sweep: finished runs do not change, and an unfinished run continues from its checkpoint with
    the same result. If a run fails, it is listed with its error, and the others continue; a run that diverged or
    collapsed is not tried again unless you delete its failure.txt.

    Raises InputError for settings that do not fit the recipe, before anything is trained; if the folder has runs with
    other settings or data; if the runs cannot be scored; and if all runs fail with the same error.
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
        _check(run, paths, held_out(hold_out, split))
        runs.append((run, Trial(run.folder, {key: point[key] for key in varying})))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", f"{folder}: another process is running this sweep; wait until it finishes"):
        how = {"hold_out": hold_out, "split": split, "progress": progress is not None}
        result = Sweep(folder, tuple(trial for _, trial in runs), str(scoring or _online(runs[0][0].recipe)))
        for place, (run, trial) in enumerate(runs):
            if progress:
                progress(f"run {place + 1} of {len(runs)}: {run.folder.name}")
            trial = _train(run, trial, paths, how)
            if trial.state == "finished":
                trial = _scored(run, trial, paths, scoring)
                done(run)
            result = replace(result, runs=(*result.runs[:place], trial, *result.runs[place + 1 :]))
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


def _check(run: Run, data: Sequence[Path], kept: str | None) -> None:
    """Raise InputError if the folder has a run with other settings, of other data, or that kept others for testing."""
    if not run.begun:
        return
    continued(run.recipe, run.folder)
    trained = run.environment()["data"]
    before, now = trained["paths"], [str(path) for path in data] or ["embedded"]
    if trained.get("held_out") != kept:
        raise InputError(f"{run.folder}: was trained with another --hold-out or --split; pass another --output")
    if before != now:
        raise InputError(
            f"{run.folder}: was trained on {', '.join(before)}, not on {', '.join(now)}; pass another --output"
        )


def _train(run: Run, trial: Trial, data: Sequence[Path], how: Mapping[str, Any]) -> Trial:
    """The run after training, which is skipped if it has ended already."""
    failure = run.folder / FAILURE
    if failure.exists():
        state, _, error = read_text(failure).strip().partition(": ")
        if state not in ("diverged", "collapsed"):
            raise InputError(f"{failure}: was not written by a sweep; delete it to train again")
        return _measured(run, replace(trial, state=state, error=error))
    saved = (run.model / "config.json").exists() and (run.folder / "training_records.json").exists()
    if saved and finished(run.folder / "checkpoints", run.recipe.training.steps):
        return _measured(run, replace(trial, state="finished"))
    try:
        pretrain(run.recipe, data, run.folder, resume=run.begun or killed_before_it_began(run.folder), **how)
    except (DivergedError, CollapsedError) as error:
        state = "diverged" if isinstance(error, DivergedError) else "collapsed"
        write_text(failure, f"{state}: {reason(error)}\n")
        return _measured(run, replace(trial, state=state, error=reason(error)))
    except Exception as error:
        return replace(trial, state="failed", error=reason(error))
    return _measured(run, replace(trial, state="finished"))


def _measured(run: Run, trial: Trial) -> Trial:
    """The trial with its newest loss, verdict and score of the evaluation during training."""
    rows, name = read_metrics(run.folder / "metrics.csv"), _online(run.recipe)
    losses, scores = ([row[key] for row in rows if key in row] for key in ("loss", name))
    return replace(
        trial,
        loss=losses[-1] if losses else None,
        score=scores[-1] if scores and isfinite(scores[-1]) else None,
        verdict=training_verdict(run),
    )


def _online(recipe: Recipe) -> str:
    """The column of the evaluation during training; '' if there is none."""
    return f"online_{recipe.training.online.best}" if recipe.training.online else ""


def _scored(run: Run, trial: Trial, data: Sequence[Path], scoring: Scoring | None) -> Trial:
    if scoring is None:
        return trial
    if scoring.protocol == PERTURBATION:
        return replace(trial, score=_perturbation_score(run))
    name = scoring.name(data, run.recipe.evaluation)
    file = run.results / f"{name}.json"
    if file.exists():
        result = Result.from_json(file)
    else:
        how = {"protocol": scoring.protocol, "task": scoring.task, "labels": scoring.labels}
        if data:  # read as for pretraining
            how |= {key: value for key in ("unit", "on_error") if (value := getattr(run.recipe.data, key, None))}
        result = evaluate(run, data, name=name, **how)
    return replace(trial, score=result.metric(result.rows[0], "macro_auroc").mean)


def _perturbation_score(run: Run) -> float | None:
    """Mean over the held-out perturbations of a run's own data."""
    settings = run.recipe.perturbation and run.recipe.perturbation.model_dump()
    file = run.perturbations / "sweep" / f"{_digest(settings)}.json"  # another evaluation may replace the run's own
    if file.exists():
        result = PerturbationResult.from_json(file)
    else:
        result = evaluate_perturbations(run)
        write_text(file, result.model_dump_json(indent=2) + "\n")
    return result.rows[0].metrics[HEADLINE].mean


def _digest(what: object) -> str:
    return blake2b(repr(what).encode(), digest_size=4).hexdigest()
