"""Demonstrations on an embedded data set, from raw records to an evaluated encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anyjepa.errors import InputError, did_you_mean
from anyjepa.recipes.plain import recipe_names
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.cells.evaluate_perturbations import evaluate_perturbations
from anyjepa.runs.cells.evaluate_proteins import evaluate_proteins
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run
from anyjepa.runs.pretrain import pretrain


def demo_names() -> list[str]:
    """The recipes that are small enough for a demonstration: those whose name ends in -demo."""
    return [name for name in recipe_names() if name.endswith("-demo")]


def demo_recipe(name: str, seed: int = 0, edits: Sequence[str] = ()) -> tuple[Recipe, list[str]]:
    """Load the recipe of a demo with edits of the form 'a.b=value', and return notices (see `edited`).

    seed: of the embedded data and of the training. Raises InputError.
    """
    if name not in demo_names():
        raise InputError(f"there is no demo '{name}'{did_you_mean(name, demo_names())}")
    data = load_recipe(name)[0].data
    return load_recipe(name, [f"training.seed={seed}", f"data.{data.embedded}.seed={seed}", *edits])


def demo(recipe: Recipe, output: Path | None = None, progress: bool = False) -> Run:
    """Pretrain a demo, then evaluate it next to its controls, with all labels and with five labels per class.

    A demo of cells is evaluated by how well it predicts perturbations or proteins instead. output: the run folder, by
    default `runs/<name>`. Raises InputError.
    """
    run = pretrain(recipe, output=output or Path("runs") / recipe.name, progress=progress)
    if recipe.data.protocol == "proteins":
        evaluate_proteins(run)
        return run
    if recipe.data.protocol == "perturbation":
        evaluate_perturbations(run, seeds=1)
        return run
    for task in reversed(run.environment()["data"]["tasks"]):  # the pictures that stay are of the first
        evaluate(run, protocol="linear", task=task)
        evaluate(run, protocol="linear", task=task, low_shot=5, from_scratch=True, seeds=1)  # that row is slow
    return run
