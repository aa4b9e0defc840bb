"""The untrained objective of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anyjepa.data.pair import Pair
from anyjepa.errors import InputError, reason
from anyjepa.masks.base import Masks
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.build import check_parameters
from anyjepa.parts import own_kinds, place
from anyjepa.randomness import generator, torch_seed
from anyjepa.recipes.schema import Recipe
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import check_savable


@torch_defaults()
def build_objective(recipe: Recipe) -> Objective:
    """Make the objective of a recipe, initialised with its seed. Raises InputError if its sizes do not match."""
    check_objective(recipe)
    torch.manual_seed(torch_seed(recipe.training.seed))
    objective = recipe.objective.build(recipe.data.channels, recipe.data.size, recipe.data.other)
    masks = [] if objective.masks is None else objective.masks.draw(recipe.grid, 2, generator(0, "masks", 0))
    if own_kinds(recipe.objective.model_dump(mode="json")):  # what fails does so before there is a run folder
        _try(recipe, objective, masks)
    check_savable(objective)
    return objective


@torch.random.fork_rng(devices=[])
def _try(recipe: Recipe, objective: Objective, masks: Sequence[Masks]) -> None:
    """Raise InputError if an objective with parts of the user cannot learn from two inputs of random numbers."""
    where, data, pair = f"recipe {recipe.name}", recipe.data, None
    if objective.pairs:
        condition = None if data.condition_dim is None else torch.randn(2, 1, data.condition_dim)
        pair = Pair(torch.randn(2, data.channels, *(data.other or data.size)), condition)
    try:
        objective.eval()(Batch.whole(torch.randn(2, data.channels, *data.size), masks, pair=pair)).total().backward()
    except Exception as error:
        raise InputError(f"{where}: {place(error)}a step on random numbers fails: {reason(error)}") from error
    for name, parameter in objective.train().named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise InputError(f"{where}: the loss does not depend on '{name}'; use it, or make it a buffer")
    objective.zero_grad(set_to_none=True)


def check_objective(recipe: Recipe) -> None:
    """Raise InputError if the sizes in a recipe's objective do not match, or if it has too many parameters."""
    try:
        check_parameters(recipe.objective, recipe.data.channels, recipe.data.size, recipe.data.other)
    except ValueError as error:
        raise InputError(f"recipe {recipe.name}: {error}") from error
