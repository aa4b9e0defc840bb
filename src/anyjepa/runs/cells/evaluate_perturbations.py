"""Evaluate how well a model of cells predicts perturbations, next to every baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyjepa.config import validated
from anyjepa.data.cells.conditions import Condition, since
from anyjepa.data.cells.matching import MatchingConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import CellSplit
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.compounds import compound_baselines
from anyjepa.perturbation.methods.pretrained import decoded_scores, heads, own_predictor
from anyjepa.perturbation.methods.trajectories import TRAJECTORY_BASELINES, trajectory_effects
from anyjepa.perturbation.scoring.baselines import BASELINES
from anyjepa.perturbation.scoring.effects import Effects, Fit
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.recipes.plain import merge
from anyjepa.runs.cells.inputs import open_screen, save_map, save_result, test_splits
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.torch_defaults import torch_defaults


@torch_defaults()
def evaluate_perturbations(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    weights: Weights | None = None,
    file: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda row: None,
    **changes: Any,
) -> PerturbationResult:
    """Score one head on the model, on PCA, on random weights and on raw expression, next to all baselines.

    If perturbations have doses or times, the model's own predictor is scored instead, because a head only knows names.
    A run without data, or with its own training data, is evaluated on the cells that training held out; other data are
    split again. A run saves the result in `perturbations/<name>.json`. file: 'key=value' settings for reading the file,
    as for `data inspect`. settings: keys of `PerturbationConfig` that override the recipe's. changes: the same as
    keywords (seeds=, splits=). Raises InputError if the model is not a model of cells, or if it was trained on test
    cells (compared by id).
    """
    inputs = open_screen(model, data, weights, file, "evaluate")
    run, loaded = inputs.run, inputs.model
    usual = (run.recipe.perturbation if run else None) or PerturbationConfig()
    plain = merge(merge(usual.model_dump(), settings or {}), changes)
    config = validated(PerturbationConfig, plain, "perturbation")
    splits, notices = test_splits(inputs, config.split, config.splits)
    screen = loaded.preprocessing.fit(inputs.screen)
    by_amount = screen.has_amounts and loaded.loaded.predictor is not None
    comparison = (
        _by_amount(loaded, screen, splits, inputs.config.matching)
        if by_amount
        else Comparison([effects_of(screen, split) for split in splits], _methods(loaded, config, screen), BASELINES)
    )
    progress("perturbations")
    result = evaluate_methods(
        comparison.splits,
        comparison.methods,
        ", ".join(map(str, inputs.paths)) or "embedded screen",
        baselines=comparison.baselines,
        baseline="perturbed mean" if "perturbed mean" in comparison.baselines else "no change",
        shuffle=not by_amount,  # a trained predictor learns nothing from the training conditions here
        above=config.above,
        resamples=config.bootstrap,
    )
    decoded = decoded_scores(
        loaded.encoder, loaded.loaded.weights, config.components, config.head.ridge, comparison.splits
    )
    result = result.model_copy(update={"decoded": decoded, "notices": (*notices, *result.notices)})
    if run:
        save_result(run.perturbations, inputs, bool(notices), result)
        save_map(run, loaded, screen)
    return result


class Comparison(NamedTuple):
    """What `evaluate_methods` compares."""

    splits: Sequence[Effects]
    methods: Mapping[str, Sequence[Fit]]
    baselines: Mapping[str, Fit]


def _methods(model: Model, config: PerturbationConfig, screen: Screen) -> Mapping[str, Sequence[Fit]]:
    """Heads with one fit per seed, and the model's own predictor, which is already trained and has a single fit."""
    methods = heads(model.encoder, model.loaded.weights, config.components, config.head, config.seeds)
    if model.loaded.predictor is None:
        return methods
    return methods | {"the model's own predictor": [_predictor(model, {one.names: one for one in screen.conditions})]}


def _by_amount(model: Model, screen: Screen, splits: Sequence[CellSplit], matching: MatchingConfig) -> Comparison:
    """Compare the model's own predictor with the same predictor on exchanged test conditions.

    Conditions are named with dose and time ('D3@10'). matching: how training pairs were formed. With before=earlier,
    cells start from the last training times, else from controls.
    """
    between = matching.before == "earlier"
    measured = screen.conditions
    possible = [since(a, b) for a in measured for b in measured if a != b] if between else measured
    conditions = {frozenset(map(str, one)): one for one in possible}
    if between:
        effects = [part for split in splits for part in trajectory_effects(screen, split.conditions)]
        baselines = TRAJECTORY_BASELINES
    else:
        effects = [effects_of(screen, split, amounts=True) for split in splits]
        baselines = compound_baselines(measured, model.preprocessing.encoding)
    tested = {one for part in effects for one in part.held_out.perturbed}
    order = sorted(tested, key=lambda one: _amount(conditions[one]))
    exchanged = dict(zip(order, [conditions[one] for one in order[1:] + order[:1]], strict=True))
    methods = {
        "the model's own predictor": [_predictor(model, conditions)],
        "its predictor, conditions exchanged": [_predictor(model, exchanged)],
    }
    return Comparison(effects, methods, baselines)


def _predictor(model: Model, conditions: Mapping[frozenset[str], Condition]) -> Fit:
    assert model.loaded.predictor is not None, "only models with a predictor get here"
    return own_predictor(model.encoder, model.loaded.predictor, model.preprocessing.encoding, conditions)


def _amount(condition: Condition) -> tuple:
    """Sort key by dose, time and name: the next condition is another compound at the same dose, if there is one."""
    return tuple((one.dose or 0, one.time or 0, one.name) for one in condition)
