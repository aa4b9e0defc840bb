"""Evaluate how well a model of cells predicts perturbations, next to every baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyjepa.config import validated
from anyjepa.data.cells.conditions import Condition, since
from anyjepa.data.cells.matching import MatchingConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.source import CellDataConfig
from anyjepa.data.cells.splits import CellSplit
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.compounds import compound_baselines
from anyjepa.perturbation.methods.pretrained import decoded_scores, heads, own_predictor
from anyjepa.perturbation.methods.trajectories import TRAJECTORY_BASELINES, trajectory_effects
from anyjepa.perturbation.scoring.baselines import BASELINES, feature_ridge
from anyjepa.perturbation.scoring.effects import Effects, Fit
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.progress import reported, stage
from anyjepa.recipes.plain import merge
from anyjepa.runs.cells.inputs import open_screen, save_map, save_result, test_splits
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.torch_defaults import torch_defaults

RAW_GENES = 2000
OWN = "the model's own predictor"
Features = Mapping[str, np.ndarray]  # (F,) of each gene or compound


@torch_defaults()
def evaluate_perturbations(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    weights: Weights | None = None,
    file: Sequence[str] = (),
    seeds: int | None = None,
    splits: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> PerturbationResult:
    """Score one head on the model, on PCA, on random weights and on raw expression, next to all baselines.

    If perturbations have doses or times, the model's own predictor is scored instead, because a head only knows names.
    A run without data, or with its own training data, is evaluated on the cells that training held out; other data are
    split again. A run saves the result in `perturbations/<name>.json`. file: 'key=value' settings for reading the file,
    as for `data inspect`. settings: keys of `PerturbationConfig` that override the recipe's; seeds, splits: two of
    them. Raises InputError if the model is not a model of cells, or if it was trained on test
    cells (compared by id).
    """
    inputs = open_screen(model, data, weights, file, "evaluate")
    run, loaded = inputs.run, inputs.model
    usual = (run.recipe.perturbation if run else None) or PerturbationConfig()
    changes = {name: value for name, value in (("seeds", seeds), ("splits", splits)) if value is not None}
    plain = merge(merge(usual.model_dump(), settings or {}), changes)
    config = validated(PerturbationConfig, plain, "perturbation")
    held_out, notices = test_splits(inputs, config.split, config.splits)
    screen = loaded.preprocessing.fit(inputs.screen)
    own = predicts(loaded, run)
    by_amount = screen.has_amounts and own
    own_table = inputs.config.encoding.by == "table" and not screen.has_amounts
    features = features_of(loaded) if own_table else None
    comparison = (
        _by_amount(loaded, screen, held_out, inputs.config.matching)
        if by_amount
        else Comparison(
            [effects_of(screen, split) for split in held_out],
            methods_of(config, screen.genes, loaded, features)
            | ({OWN: [own_predictor_of(loaded, {one.names: one for one in screen.conditions})]} if own else {}),
            baselines_with(features),
        )
    )
    with reported(progress), stage("perturbations"):
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


def baselines_with(features: Features | None) -> Mapping[str, Fit]:
    """All baselines, and a ridge on the user's features of genes."""
    return BASELINES if features is None else {**BASELINES, "ridge on your features": feature_ridge(features)}


class Comparison(NamedTuple):
    """What `evaluate_methods` compares."""

    splits: Sequence[Effects]
    methods: Mapping[str, Sequence[Fit]]
    baselines: Mapping[str, Fit]


def methods_of(
    config: PerturbationConfig, genes: Sequence[str], model: Model | None, features: Features | None = None
) -> dict[str, list[Fit]]:
    """Heads with one fit per seed; with a model also on its tokens.

    The head on raw expression is left out for more than 2,000 genes, because its decoder has a number for each pair.
    """
    encoder, weights = (None, "") if model is None else (model.encoder, model.loaded.weights)
    raw = len(genes) <= RAW_GENES or model is not None
    return heads(config.components, config.head, config.seeds, encoder, weights, features, raw)


def predicts(model: Model, run: Run | None) -> bool:
    """Whether the model has a predictor that training reached: its second phase, after that of hidden genes."""
    if model.loaded.predictor is None:
        return False
    steps, data = model.loaded.provenance.steps, run.recipe.data if run else None
    return not (isinstance(data, CellDataConfig) and steps is not None and steps <= data.hidden.steps)


def features_of(model: Model) -> Features | None:
    """The features of perturbations that a model was trained with; None for names alone."""
    encoding = model.preprocessing.encoding
    if encoding.features is None:
        return None
    return dict(zip(encoding.names, np.asarray(encoding.features, float), strict=True))


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
        names = sorted({str(one) for condition in measured for one in condition})
        baselines = compound_baselines(names, features_of(model))
    tested = {one for part in effects for one in part.held_out.perturbed}
    order = sorted(tested, key=lambda one: _amount(conditions[one]))
    exchanged = dict(zip(order, [conditions[one] for one in order[1:] + order[:1]], strict=True))
    methods = {
        OWN: [own_predictor_of(model, conditions)],
        "its predictor, conditions exchanged": [own_predictor_of(model, exchanged)],
    }
    return Comparison(effects, methods, baselines)


def own_predictor_of(model: Model, conditions: Mapping[frozenset[str], Condition]) -> Fit:
    """The model's own predictor, which is already trained and has a single fit."""
    assert model.loaded.predictor is not None, "only models with a predictor get here"
    return own_predictor(model.encoder, model.loaded.predictor, model.preprocessing.encoding, conditions)


def _amount(condition: Condition) -> tuple:
    """Sort key by dose, time and name: the next condition is another compound at the same dose, if there is one."""
    return tuple((one.dose or 0, one.time or 0, one.name) for one in condition)
