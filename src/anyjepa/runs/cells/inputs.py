"""Open a model of cells together with a screen, choose what is tested, and save results in a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from anyjepa.config import validated
from anyjepa.data.cells.dataset import WITHOUT_PHASE, CellDataset
from anyjepa.data.cells.files import CellFileConfig, from_anndata, read_h5ad
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.source import CellDataConfig, find_screen, held_out
from anyjepa.data.cells.splits import AnySplit, CellSplit, split
from anyjepa.data.modalities import modality_of
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.recipes.plain import apply_edit
from anyjepa.runs.embedding_pictures import keep_embedding
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model, run_and_model
from anyjepa.writing import write_text

if TYPE_CHECKING:
    from anndata import AnnData


class ModelAndScreen(NamedTuple):
    """A model, and a screen with all genes of its file."""

    run: Run | None
    model: Model
    config: CellDataConfig  # that of the run, with the `file` settings of this call
    paths: list[Path]  # empty: the embedded screen, or AnnData in memory
    screen: Screen


def open_screen(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str | AnnData | Screen,
    weights: Weights | None,
    file: Sequence[str],
    command: str,
) -> ModelAndScreen:
    """Load a model and read a screen; without data, the screen that the run was trained on.

    file: 'key=value' settings for reading the file. command: name of the command for messages. Raises InputError if the
    model is not a model of cells, for a model folder without data, and for a file that cannot be read.
    """
    run, loaded = run_and_model(model, weights)
    if not isinstance(loaded.preprocessing, CellPreprocessing):
        records = modality_of(loaded.preprocessing).records
        raise InputError(f"{command}: needs a model of cells, but this is a model of {records}")
    listed = [data] if isinstance(data, (str, Path)) else data if isinstance(data, Sequence) else []
    memory = None if isinstance(data, (str, Path, Sequence)) else data
    paths = [Path(path) for path in listed]
    if run is None and not paths and memory is None:
        raise InputError(f"{command}: pass --data; only a run folder records its training data")
    proteins = len(loaded.preprocessing.proteins)
    config = run.recipe.data if run else CellDataConfig(proteins=proteins, hidden=WITHOUT_PHASE)
    assert isinstance(config, CellDataConfig), "a run of a cell model"
    if run and not paths and memory is None and (own := run.environment()["data"]["paths"]) != ["embedded"]:
        paths = [Path(path) for path in own]
    config = config.model_copy(update={"file": edited_file(config.file, file)})
    screen = find_screen(config, paths) if memory is None else screen_of(memory, config.file)
    return ModelAndScreen(run, loaded, config, paths, screen)


def edited_file(config: CellFileConfig, edits: Sequence[str]) -> CellFileConfig:
    """Settings of a file with edits such as 'condition=gene' or, as in a recipe, 'data.file.condition=gene'."""
    if not edits:
        return config
    plain = config.model_dump()
    for edit in edits:
        apply_edit(plain, edit.removeprefix("data.file."))
    return validated(CellFileConfig, plain, "--set")


def screen_of(data: Path | str | AnnData | Screen, config: CellFileConfig) -> Screen:
    """The screen in a file or in memory. Raises InputError."""
    if isinstance(data, Screen):
        return data
    return read_h5ad(data, config) if isinstance(data, (str, Path)) else from_anndata(data, config)


def test_splits(inputs: ModelAndScreen, other: AnySplit, number: int) -> tuple[list[CellSplit], tuple[str, ...]]:
    """The splits of the screen, and notices for the reader.

    On its own training data, a run has one split: the one that training used. Other data are split `number` times with
    `other`. Raises InputError if the model was trained on test cells.
    """
    run, screen, records = inputs.run, inputs.screen, inputs.model.loaded.records
    seen = set() if records is None else set(records.saw_ids(screen.ids))
    if own := held_out(inputs.config, screen) if seen and run else None:
        splits = [own]
    else:
        splits = [split(screen, other, seed) for seed in range(number)]
    for one in splits:
        if leaked := [screen.ids[row] for row in one.test if screen.ids[row] in seen]:
            raise InputError(
                f"{screen.source}: the model was trained on test cells such as '{leaked[0]}'; "
                "train it with data.split, which holds out test cells"
            )
    if own:
        return splits, ()
    origin = "does not say which cells it was trained on"
    if records is not None and records.named:
        origin = "was trained on none of these cells"
    return splits, (
        f"OTHER DATA: the model {origin}. Whether it saw the test conditions in other data is not checked.",
    )


def result_name(inputs: ModelAndScreen, other: bool) -> str:
    """Name of a result file: one per data set and encoder; results on held-out training data sort first."""
    shown = "-".join(path.resolve().stem for path in inputs.paths) or "embedded"
    digest = blake2b(repr([path.resolve() for path in inputs.paths]).encode(), digest_size=4).hexdigest()
    weights = inputs.model.loaded.weights
    parts = ["other" if other else "held-out", shown[:60], *([digest] if inputs.paths else [])]
    return re.sub(r"[^\w.]+", "-", "-".join([*parts, *(["student"] if weights == "student" else [])]))


def save_result(folder: Path, inputs: ModelAndScreen, other: bool, result: BaseModel) -> None:
    """Write a result as JSON into a folder of a run."""
    write_text(folder / f"{result_name(inputs, other)}.json", result.model_dump_json(indent=2) + "\n")


def save_map(run: Run, model: Model, screen: Screen) -> None:
    """Draw the report's map of a screen with the model's genes, by cell type, else batch, else perturbation."""
    samples = CellDataset.whole(screen, model.preprocessing)
    task = next((name for name in ("cell_type", "batch", "perturbation") if name in samples.tables), None)
    if task is not None:
        keep_embedding(run, model, samples, samples.tables[task], run.recipe.evaluation)
