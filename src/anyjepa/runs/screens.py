"""Which cells a model of cells is asked about, and how their file is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anyjepa.config import validated
from anyjepa.data.cells.files import CellFileConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.source import CellDataConfig, find_screen
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.recipes.schema import apply_edit
from anyjepa.runs.folder import Run, find_run
from anyjepa.runs.model import CellModel, Model, load


class Asked(NamedTuple):
    """A model and a screen, with all genes that were read."""

    run: Run | None
    model: CellModel
    config: CellDataConfig  # the run's, with the file's settings of this question
    paths: list[Path]  # none: the embedded screen
    screen: Screen


def asked(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str,
    weights: Weights | None,
    file: Sequence[str],
    command: str,
) -> Asked:
    """Without data a run answers for what it was trained on. file: 'key=value' edits of how the file is read.

    Raises InputError for a model of other data, for a model folder without data, and what reading refuses.
    """
    run = model if isinstance(model, Run) else None if isinstance(model, Model) else find_run(Path(model))
    loaded = model if isinstance(model, Model) else load(run.model if run else str(model), weights)
    if not isinstance(loaded, CellModel):
        raise InputError(f"{command}: perturbations are of cells, this is a model of {loaded.preprocessing.kind}")
    paths = [Path(path) for path in ([data] if isinstance(data, (str, Path)) else data)]
    if run is None and not paths:
        raise InputError(f"{command}: a model folder needs --data; only a run knows what it was trained on")
    config = run.recipe.data if run else CellDataConfig()
    assert isinstance(config, CellDataConfig), "a run of a cell model"
    if run and not paths and (own := run.environment()["data"]["paths"]) != ["embedded"]:
        paths = [Path(path) for path in own]
    if file:
        plain = config.file.model_dump()
        for edit in file:
            apply_edit(plain, edit)
        config = config.model_copy(update={"file": validated(CellFileConfig, plain, "--set")})
    return Asked(run, loaded, config, paths, find_screen(config, paths))
