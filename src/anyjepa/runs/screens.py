"""Which cells a model of cells is asked about, and how their file is to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from anyjepa.config import validated
from anyjepa.data.cells.dataset import WITHOUT_PHASE, CellDataset
from anyjepa.data.cells.files import CellFileConfig
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.source import CellDataConfig, find_screen, held_out
from anyjepa.data.cells.splits import CellSplit, SplitConfig, split
from anyjepa.data.modalities import modality_of
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.recipes.plain import apply_edit
from anyjepa.runs.embedding_pictures import keep_embedding
from anyjepa.runs.folder import Run, find_run
from anyjepa.runs.model import Model, load
from anyjepa.writing import write_text


class Asked(NamedTuple):
    """A model and a screen, with all genes that were read."""

    run: Run | None
    model: Model
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
    if not isinstance(loaded.preprocessing, CellPreprocessing):
        raise InputError(
            f"{command}: needs a model of cells, this is a model of {modality_of(loaded.preprocessing).records}"
        )
    paths = [Path(path) for path in ([data] if isinstance(data, (str, Path)) else data)]
    if run is None and not paths:
        raise InputError(f"{command}: a model folder needs --data; only a run knows what it was trained on")
    proteins = len(loaded.preprocessing.proteins)
    config = run.recipe.data if run else CellDataConfig(proteins=proteins, hidden=WITHOUT_PHASE)
    assert isinstance(config, CellDataConfig), "a run of a cell model"
    if run and not paths and (own := run.environment()["data"]["paths"]) != ["embedded"]:
        paths = [Path(path) for path in own]
    if file:
        plain = config.file.model_dump()
        for edit in file:
            apply_edit(plain, edit)
        config = config.model_copy(update={"file": validated(CellFileConfig, plain, "--set")})
    return Asked(run, loaded, config, paths, find_screen(config, paths))


def parts_of(question: Asked, other: SplitConfig, number: int) -> tuple[list[CellSplit], tuple[str, ...]]:
    """What is held out of the screen, and what a reader must know first. InputError if training saw tested cells.

    other: how data that the model was not trained on are split, so many times.
    """
    run, screen, records = question.run, question.screen, question.model.loaded.records
    seen = set() if records is None else set(records.saw_ids(screen.ids))
    if own := held_out(question.config, screen) if seen and run else None:
        splits = [own]
    else:
        splits = [split(screen, other, seed) for seed in range(number)]
    for done in splits:
        if leaked := [screen.ids[row] for row in done.test if screen.ids[row] in seen]:
            raise InputError(
                f"{screen.source}: the model was trained on cells that are tested, as '{leaked[0]}'; train with "
                "data.split, and it is judged on what that holds out"
            )
    if own:
        return splits, ()
    told = "does not say which cells it was trained on" if records is None else "was trained on none of these cells"
    return splits, (f"OTHER DATA: the model {told}; whether it saw what is tested elsewhere is not checked.",)


def answer_name(question: Asked, other: bool) -> str:
    """One file for each data set and encoder; that of what training held out comes first."""
    shown = "-".join(path.resolve().stem for path in question.paths) or "embedded"
    digest = blake2b(repr([path.resolve() for path in question.paths]).encode(), digest_size=4).hexdigest()
    weights = question.model.loaded.weights
    parts = ["other" if other else "held-out", shown[:60], *([digest] if question.paths else [])]
    return re.sub(r"[^\w.]+", "-", "-".join([*parts, *(["student"] if weights == "student" else [])]))


def keep_answer(folder: Path, question: Asked, other: bool, answer: BaseModel) -> None:
    """Write what a question found into its file in a run's folder of answers."""
    write_text(folder / f"{answer_name(question, other)}.json", answer.model_dump_json(indent=2) + "\n")


def keep_map(run: Run, model: Model, screen: Screen) -> None:
    """The report's map of cells: by cell type, else by batch, else by perturbation."""
    samples = CellDataset.whole(screen, model.preprocessing)
    task = next((name for name in ("cell_type", "batch", "perturbation") if name in samples.tables), None)
    if task is not None:
        keep_embedding(run, model, samples, samples.tables[task], run.recipe.evaluation.windows)
