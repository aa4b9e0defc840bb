"""Judge what a model's representation of cells is worth for predicting perturbations, beside every baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.config import validated
from anyjepa.data.cells.screen import Screen
from anyjepa.evaluation.controls import random_encoder
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import HeadConfig, Represent, latent_head
from anyjepa.perturbation.methods.representations import all_tokens, components, shared, sufficiency
from anyjepa.perturbation.scoring.baselines import BASELINES
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.perturbation.scoring.evaluate import judge
from anyjepa.perturbation.scoring.result import Judgement
from anyjepa.recipes.plain import merge
from anyjepa.runs.amounts import Question, ask_amounts, has_amounts, own_predictor
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.runs.screens import asked, keep_answer, keep_map, parts_of
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
) -> Judgement:
    """One head on the model, on PCA, on random weights and on raw expression, beside all baselines.

    Where perturbations have doses or times, the model's own predictor is judged instead, for a head knows names only.
    A run without data, or on what it was trained on, is judged on what its training held out; other data are split
    anew. A run keeps the result in `perturbations/<name>.json`. file: 'key=value' edits of how the file is read, as for
    `data inspect`; settings: keys of `PerturbationConfig`, over the recipe's; changes: the same as keywords (seeds=,
    splits=). Raises InputError for a model of other data than cells, and if the model was trained on tested cells, by
    their ids.
    """
    question = asked(model, data, weights, file, "evaluate")
    run, loaded, paths = question.run, question.model, question.paths
    usual = (run.recipe.perturbation if run else None) or PerturbationConfig()
    plain = merge(merge(usual.model_dump(), settings or {}), changes)
    config = validated(PerturbationConfig, plain, "perturbation")
    splits, notices = parts_of(question, config.split, config.splits)
    screen = loaded.preprocessing.fit(question.screen)
    own = loaded.loaded.predictor is not None and has_amounts(screen)
    effects, methods, baselines = (
        ask_amounts(loaded, screen, splits, question.config.matching)
        if own
        else Question([effects_of(screen, done) for done in splits], _methods(loaded, config, screen), BASELINES)
    )
    progress("perturbations")
    result = judge(
        effects,
        methods,
        ", ".join(map(str, paths)) or "embedded screen",
        baselines=baselines,
        baseline="perturbed mean" if "perturbed mean" in baselines else "no change",
        shuffle=not own,  # a predictor that is trained already learns nothing here
        above=config.above,
        resamples=config.bootstrap,
    )
    held = {
        f"all tokens of the model ({loaded.loaded.weights})": lambda train: all_tokens(loaded.encoder),
        f"PCA ({config.components})": partial(components, count=config.components),
        "all tokens of random weights": lambda train: all_tokens(random_encoder(loaded.encoder, 0)),
    }
    decoded = {
        name: float(np.mean([sufficiency(of(part.train), part, config.head.ridge) for part in effects]))
        for name, of in held.items()
    }
    result = result.model_copy(update={"decoded": decoded, "notices": (*notices, *result.notices)})
    if run:
        keep_answer(run.judgements, question, bool(notices), result)
        keep_map(run, loaded, screen)
    return result


def heads(model: Model, config: PerturbationConfig, train: Effects) -> list[Fit]:
    """The heads on the model, one a seed, all on the components that `train` has."""
    represent = components(train, config.components, all_tokens(model.encoder))
    return [latent_head(represent, config.head, seed) for seed in range(config.seeds)]


def _representations(model: Model, config: PerturbationConfig) -> dict[str, Callable[[Effects], Represent]]:
    """By name what makes a representation from the training cells: all but the last of equal width."""

    def main(represent: Represent) -> Callable[[Effects], Represent]:
        return partial(components, count=config.components, represent=represent)

    return {
        f"head on pretrained ({model.loaded.weights})": main(all_tokens(model.encoder)),
        f"head on PCA ({config.components})": main(lambda cells: cells),
        "head on random weights": main(all_tokens(random_encoder(model.encoder, 0))),
        "head on raw expression": lambda train: lambda cells: cells,
    }


def _methods(model: Model, config: PerturbationConfig, screen: Screen) -> dict[str, list[Fit]]:
    """By name a fit for each seed; the model's own predictor, which is trained already, has one."""
    methods = {
        name: [_head(of, config.head, seed) for of in [shared(each)] for seed in range(config.seeds)]
        for name, each in _representations(model, config).items()
    }
    if model.loaded.predictor is None:
        return methods
    said = {condition.names: condition for condition in screen.conditions}
    return methods | {"the model's own predictor": [own_predictor(model, said)]}


def _head(of: Callable[[Effects], Represent], config: HeadConfig, seed: int) -> Fit:
    def fit(train: Effects) -> Predict:
        return latent_head(of(train), config, seed)(train)

    return fit
