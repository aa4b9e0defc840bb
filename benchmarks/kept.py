"""Runs of benchmarks: one that is there is kept, and an interrupted one is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyjepa.recipes.schema import Recipe, edited, load_recipe
from anyjepa.runs.folder import Run
from anyjepa.runs.pretrain import continued, pretrain


def kept_run(recipe: str | Recipe, data: Any, folder: Path, edits: Sequence[str] = (), **options: Any) -> Run:
    """Pretrain in `folder`, unless that is done. Raises InputError if a run there has other settings.

    data: (): the simulated data of the recipe. options: for `pretrain`.
    """
    recipe, _ = load_recipe(recipe, edits) if isinstance(recipe, str) else edited(recipe, edits)
    if (folder / "model").exists():
        return continued(recipe, folder)
    return pretrain(recipe, data, folder, resume=(folder / "recipe.yaml").exists(), **options)
