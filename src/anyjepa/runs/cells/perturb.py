"""From a screen to an answer: which method to trust on it, and predictions of what was not measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anyjepa.config import validated
from anyjepa.data.cells.conditions import require_known
from anyjepa.data.cells.encoding import read_features
from anyjepa.data.cells.files import CellFileConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.source import held_out
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.compounds import Amount, compound_baselines, curve, described_amounts
from anyjepa.perturbation.methods.ensembles import CalibratedPredict, calibrated, first_answer
from anyjepa.perturbation.methods.pretrained import heads_after
from anyjepa.perturbation.predictions.export import to_cell_eval
from anyjepa.perturbation.predictions.pictures import held_out as held_out_picture
from anyjepa.perturbation.predictions.predict import (
    PredictedConditions,
    measured_changes,
    parse_conditions,
    perturbation_names,
    predict_sets,
)
from anyjepa.perturbation.predictions.ranking import Goal, rank_candidates
from anyjepa.perturbation.predictions.synergy import NO_PAIR, synergy
from anyjepa.perturbation.questions import Question, panel, questions, unseen_context, usable_genes
from anyjepa.perturbation.scoring.baselines import require_features, same_elsewhere
from anyjepa.perturbation.scoring.effects import Effects, Fit
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.verdict import verdict
from anyjepa.progress import reported, stage
from anyjepa.recipes.plain import apply_edit
from anyjepa.runs.cells.answer import Answer, Evaluated
from anyjepa.runs.cells.evaluate_perturbations import (
    OWN,
    Features,
    baselines_with,
    features_of,
    methods_of,
    own_predictor_of,
    predicts,
)
from anyjepa.runs.cells.inputs import edited_file, open_screen, screen_of
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.torch_defaults import torch_defaults

if TYPE_CHECKING:
    from anndata import AnnData

HEADS = 3  # seeds of the heads that predict; they are evaluated with one
FILE = CellFileConfig(unassigned="skip")
CURVE = "interpolated curve"


class _Task(NamedTuple):
    """A screen, with the model that is compared on it, if any."""

    screen: Screen
    model: Model | None
    run: Run | None
    chosen: list[Question]
    impossible: dict[str, str]
    notes: list[str]
    features: Features | None
    config: PerturbationConfig

    @property
    def most_genes(self) -> int:
        """Largest panel; a model has chosen its genes."""
        return usable_genes(len(self.screen)) if self.model is None else len(self.screen.genes)


@torch_defaults()
def perturb(
    data: Path | str | AnnData | Screen | None = None,
    *,
    model: str | Path | Run | Model | None = None,
    conditions: Sequence[str] = (),
    up: Sequence[str] = (),
    down: Sequence[str] = (),
    synergies: bool = False,
    features: Path | str | Mapping[str, np.ndarray] | None = None,
    level: float = 0.8,
    evaluate: bool = True,
    settings: Mapping[str, object] | Sequence[str] = (),
    weights: Weights | None = None,
    progress: Callable[[str], object] | None = None,
) -> Answer:
    """Find out which predictions a screen supports, and predict conditions that were not measured.

    data: an .h5ad file, AnnData or a `Screen`. Default: the data of the run `model`.
    model: a pretrained model to compare as one more row; it does not change the predictions.
    conditions: what to predict, such as 'A+B', 'D3@10' (dose) or 'D3@10/24' (dose and time). With three or more cell
        types (or donors), each condition is predicted in each of them.
    up, down: genes; all single perturbations and pairs are ranked by how much they increase or decrease them.
    synergies: whether to show how the combinations in `conditions` differ from the sum of their parts.
    features: a CSV with a name and numbers per row, or arrays by name, to predict genes outside the panel or new
        compounds. Default: the table that the run was trained with, if any (`encoding.by=table`).
    level: coverage of the intervals.
    evaluate: whether to compare methods on everything that can be held out, before predicting.
    settings: how to read the file, such as {"condition": "gene"}, and settings of the comparison
        (`PerturbationConfig`), such as {"perturbation.bootstrap": 200}; `perturbation.splits` is the number of folds.

    Raises InputError, before anything is fitted, for a file that is not a screen and for unknown genes and conditions.
    """
    edits = [f"{key}={value}" for key, value in settings.items()] if isinstance(settings, Mapping) else list(settings)
    if not 0 < level < 1:
        raise InputError(f"perturb: level must be between 0 and 1, but is {level:g}")
    task = _task(data, model, edits, weights, _features(features), evaluate)
    goal = Goal(tuple(up), tuple(down)) if up or down else None
    sets = _checked(task, conditions, goal, synergies)
    answer = Answer(task.screen, task.impossible, tuple(task.notes), level, task.most_genes, evaluate)
    with reported(progress):
        for question in task.chosen:
            with stage(f"evaluating: {question.title} ({len(question.splits)} splits)"):
                answer.questions.append(_evaluated(task, question))
        if sets or goal is not None:
            with stage("predicting"):
                _answer(answer, task, sets, goal, synergies)
    return answer


def _evaluated(task: _Task, question: Question) -> Evaluated:
    """Compare the methods on one question."""
    effects, methods, baselines = _compared(task, question)
    where = task.screen.source or "the embedded screen"
    config = task.config
    result = evaluate_methods(
        effects, methods, f"{where}, {question.title}", baselines, above=config.above, resamples=config.bootstrap
    )
    first = next(iter(methods.values()))[0]
    files = partial(to_cell_eval, effects, first)
    picture = partial(held_out_picture, effects, first)
    return Evaluated(question.title, result, verdict(result), files, picture)


def _answer(answer: Answer, task: _Task, sets: Sequence[frozenset[str]], goal: Goal | None, synergies: bool) -> None:
    """Fill in the predictions, the ranking and the synergies."""
    level = answer.level
    keep = {*(name for one in sets for name in one), *(goal.genes if goal else ())}
    if sets:
        answer.predicted = _predict(task, sets, level, keep)
    if goal is not None or synergies:
        train, predict = _fitted(task, task.screen, None, level, keep)
        if goal is not None:
            answer.ranking = rank_candidates(
                predict, train, goal, perturbation_names(train) if _amounts(task) else None
            )
        if synergies:
            answer.synergies = synergy(predict, train, ["+".join(sorted(one)) for one in sets if len(one) > 1]).scores


def _compared(task: _Task, question: Question) -> tuple[list[Effects], dict[str, list[Fit]], dict[str, Fit]]:
    """The splits of a question; the head on principal components, the model if there is one; and every baseline."""
    effects = question.effects(task.most_genes)
    names = sorted({name for one in effects[0].perturbed for name in one})
    features = task.features
    amounts = _amounts(task)
    if amounts and features is not None:
        features = described_amounts(names, features)
    own = task.model is not None and predicts(task.model, task.run)
    if question.axis is None:
        first = methods_of(task.config, effects[0].genes, task.model, features)
        methods: dict[str, list[Fit]] = dict(
            sorted(first.items(), key=lambda item: not item[0].startswith("head on PCA"))
        )
    else:
        methods: dict[str, list[Fit]] = {CURVE: [curve]}
    if own and task.model is not None:
        by_set = {frozenset(map(str, one)) if amounts else one.names: one for one in task.screen.conditions}
        methods[OWN] = [own_predictor_of(task.model, by_set)]
    baselines = dict(compound_baselines(names, task.features) if amounts else baselines_with(features))
    if question.splits[0].context and len({one for part in effects for one in part.perturbed}) > 1:
        baselines["same perturbation elsewhere"] = same_elsewhere
    return effects, methods, baselines


def _task(
    data: Path | str | AnnData | Screen | None,
    model: str | Path | Run | Model | None,
    edits: Sequence[str],
    weights: Weights | None,
    features: Features | None,
    evaluate: bool,
) -> _Task:
    config = _config(edits)
    edits = [edit for edit in edits if not edit.startswith("perturbation.")]
    if model is None:
        if data is None:
            raise InputError("perturb: pass a screen (.h5ad), or a run with --model")
        if isinstance(data, (str, Path)) and Path(data).is_dir():
            raise InputError(f"{data}: is a folder; pass a screen (.h5ad), and a run with --model")
        screen = screen_of(data, edited_file(FILE, edits)).without_constant_amounts()
        chosen, impossible = questions(screen, features or (), config.splits)
        return _Task(screen, None, None, chosen if evaluate else [], impossible, [], features, config)
    inputs = open_screen(model, () if data is None else data, weights, edits, "perturb")
    if features is None and inputs.config.encoding.by == "table":
        features = features_of(inputs.model)
    screen, records = inputs.model.preprocessing.fit(inputs.screen), inputs.model.loaded.records
    seen = set() if records is None else set(records.saw_ids(screen.ids))
    splittable = bool(seen) and inputs.run is not None and len(inputs.screen.conditions) > 1
    own = held_out(inputs.config, inputs.screen) if splittable else None
    notes = []
    if own and not any(screen.ids[row] in seen for row in own.test):
        chosen, impossible = [Question("held out in pretraining", screen, (own,))], {}
    else:
        chosen, impossible = questions(screen, features or (), config.splits)
        if seen:
            notes.append("The encoder was trained on cells of this screen, so its row is too good.")
        elif records is None:
            notes.append("The model does not say which cells it was trained on, so its row may be too good.")
    task = _Task(screen, inputs.model, inputs.run, chosen, impossible, notes, features, config)
    return task if evaluate else task._replace(chosen=[])


def _config(edits: Sequence[str]) -> PerturbationConfig:
    """Settings of the comparison, with edits such as 'perturbation.bootstrap=200'."""
    plain: dict[str, Any] = {"perturbation": PerturbationConfig(seeds=1, splits=10, components=50).model_dump()}
    for edit in edits:
        if edit.startswith("perturbation."):
            apply_edit(plain, edit)
    return validated(PerturbationConfig, plain["perturbation"], "--set perturbation")


def _features(features: Path | str | Mapping[str, np.ndarray] | None) -> Features | None:
    if features is None:
        return None
    read = read_features(Path(features)) if isinstance(features, (str, Path)) else features
    arrays = {str(name): np.asarray(vector, float) for name, vector in read.items()}
    require_features(arrays)
    return arrays


def _amounts(task: _Task) -> bool:
    return task.screen.has_amounts


def _checked(task: _Task, conditions: Sequence[str], goal: Goal | None, synergies: bool) -> list[frozenset[str]]:
    """The conditions to predict as sets of names. Raises InputError for what cannot be predicted."""
    screen, features = task.screen, task.features or {}
    if goal is not None:
        goal.score(np.zeros(len(screen.genes)), screen.genes)
    measured = screen.conditions[1:]
    names = sorted({str(one) if _amounts(task) else one.name for condition in measured for one in condition})
    parsed = parse_conditions(conditions, names, screen.genes) if conditions else []
    several = [one for one in measured if len(one) > 1]
    for one in parsed:
        if _amounts(task):
            compounds = {Amount.of(name).name for name in names} | features.keys()
            require_known(one, {*compounds, *(name for name in one.names if Amount.of(name).name in compounds)})
            continue
        if new := sorted(one.names - set(names) - set(screen.genes) - features.keys()):
            if len(names) > 1:
                require_known(one, [*names, *features])
            raise InputError(f"unknown perturbation '{new[0]}'; there are: {', '.join(names[:40])}")
    if synergies and not any(len(one) > 1 for one in parsed):
        raise InputError("perturb: none of the conditions is a combination, so there is no synergy to compute")
    if synergies and not several:
        raise InputError(NO_PAIR)
    if not several and (goal is not None or any(len(one) > 1 for one in parsed)):
        task.notes.append("No combination was measured: a predicted combination is the sum of its parts.")
    return [one.names for one in parsed]


def _fitted(
    task: _Task, screen: Screen, label: str | None, level: float, keep: set[str]
) -> tuple[Effects, CalibratedPredict]:
    """Effects of all conditions, and the heads fitted to them, with the components of expression."""
    chosen = panel(screen, np.arange(len(screen)), task.most_genes, keep & set(screen.genes))
    train = effects_of(chosen, (), context=label, amounts=_amounts(task)).train  # type: ignore[arg-type]
    features = task.features
    if _amounts(task):
        described = {*perturbation_names(train), *(name for name in keep if Amount.of(name).name in (features or {}))}
        features = None if features is None else described_amounts(sorted(described), features)
    fits = heads_after(train, task.config.components, task.config.head, HEADS, features=features)
    if _amounts(task):
        fits = [first_answer([fit, curve]) for fit in fits]
    return train, calibrated(fits, level)(train)


def _predict(task: _Task, sets: Sequence[frozenset[str]], level: float, keep: set[str]) -> PredictedConditions:
    """Predict each condition in each context if there are three or more, else in all cells together."""
    label, screen = _contexts(task.screen)
    train, predict = _fitted(task, screen, label, level, keep)
    if label is None:
        predicted = predict_sets(predict, train, sets)
        places: tuple[str, ...] = ()
    else:
        column = getattr(screen, label)
        there = np.unique(column.codes).tolist()
        chosen = screen.select(genes=train.genes)
        before = np.stack(
            [
                chosen.rows(np.flatnonzero((screen.condition == 0) & (column.codes == code))).mean(0, dtype=float)
                for code in there
            ]
        )
        several = [one for one in sets for _ in there]
        predicted = predict_sets(predict, train, several, np.tile(before, (len(sets), 1)))
        places = tuple(column.names[code] for code in there) * len(sets)
    if (lacking := np.isnan(predicted.prediction.change).any(1)).any():
        name = predicted.conditions[int(np.argmax(lacking))]
        raise InputError(
            f"there is no prediction for '{name}': a gene that was not perturbed here must be in the panel, or have "
            "features (--features FILE)"
        )
    control = np.broadcast_to(predicted.control, predicted.prediction.change.shape)
    measured = measured_changes(train, predicted.perturbed, control, level)
    return replace(predicted, contexts=places, label=label or "context", measured=measured)


def _contexts(screen: Screen) -> tuple[str | None, Screen]:
    """The label whose values conditions are predicted in, and the cells of those with enough controls."""
    for label in ("cell_type", "donor"):
        if getattr(screen, label) is None:
            continue
        try:
            question = unseen_context(screen, label)
        except InputError:
            continue
        if len(question.splits) > 2:
            return label, question.screen
    return None, screen
