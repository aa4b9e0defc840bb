"""What a model's own predictor says of compounds, doses and times that were held out: how the judge is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anyjepa.data.cells.conditions import Condition, since
from anyjepa.data.cells.matching import MatchingConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import CellSplit
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.compounds import compound_baselines
from anyjepa.perturbation.methods.pretrained import predictor_fit
from anyjepa.perturbation.methods.trajectories import TRAJECTORY_BASELINES, trajectory_effects
from anyjepa.perturbation.scoring.effects import Effects, Fit
from anyjepa.runs.model import Model

Said = Mapping[frozenset[str], Condition]
"""Conditions by their perturbations: names, or where doses or times tell them apart their texts, {'D3@10'}."""


class Question(NamedTuple):
    """The judge's first arguments."""

    splits: Sequence[Effects]
    methods: Mapping[str, Sequence[Fit]]
    baselines: Mapping[str, Fit]


def has_amounts(screen: Screen) -> bool:
    """Whether a perturbation has a dose or a time, so that its name alone does not say what was done."""
    return any(one.dose is not None or one.time is not None for condition in screen.conditions for one in condition)


def ask_amounts(model: Model, screen: Screen, splits: Sequence[CellSplit], matching: MatchingConfig) -> Question:
    """Conditions go by their texts. Beside the predictor it stands itself, told the next tested condition instead.

    matching: of the training pairs; with before=earlier cells start from the last trained times, else from controls.
    """
    between = matching.before == "earlier"
    said = {frozenset(map(str, one)): one for one in (_lags(screen) if between else screen.conditions)}
    if between:
        effects = [part for done in splits for part in trajectory_effects(screen, done.conditions)]
        baselines = TRAJECTORY_BASELINES
    else:
        effects = [effects_of(screen, done, amounts=True) for done in splits]
        baselines = compound_baselines(screen.conditions, model.preprocessing.encoding)
    tested = sorted({one for part in effects for one in part.held_out.perturbed}, key=lambda one: _amount(said[one]))
    exchanged = dict(zip(tested, [said[one] for one in tested[1:] + tested[:1]], strict=True))
    methods = {
        "the model's own predictor": [own_predictor(model, said)],
        "its predictor, conditions exchanged": [own_predictor(model, exchanged)],
    }
    return Question(effects, methods, baselines)


def _lags(screen: Screen) -> list[Condition]:
    """What can lie between two times of a time course."""
    known = screen.conditions
    return [since(a, b) for a in known for b in known if a != b]


def own_predictor(model: Model, said: Said) -> Fit:
    """The model's predictor as a method for the judge. said: the condition behind each set that may be asked."""

    def encode(perturbed: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        return model.preprocessing.encoding.encode([said[perturbed]])

    assert model.loaded.predictor is not None
    return predictor_fit(model.encoder, model.loaded.predictor.to(next(model.encoder.parameters()).device), encode)


def _amount(condition: Condition) -> tuple:
    """By dose, then time, then name: what follows is another compound at the same dose, where there is one."""
    return tuple((one.dose or 0, one.time or 0, one.name) for one in condition)
