"""A model folder of any checkpoint that a run has kept, so that the best can be chosen by what it is good for."""

from __future__ import annotations

from pathlib import Path

from anyjepa.errors import InputError
from anyjepa.runs.folder import open_run
from anyjepa.runs.pretrain import build_objective
from anyjepa.torch_defaults import torch_defaults
from anyjepa.training.checkpoints import check_checkpoint, list_checkpoints, step_of
from anyjepa.training.module import Pretraining
from anyjepa.weights.folder import load_model, save_pretrained
from anyjepa.weights.foreign import read_foreign


@torch_defaults()
def save_checkpointed(folder: Path, step: int, output: Path) -> Path:
    """Write the model that a run in `folder` had after `step` optimiser steps to a model folder `output`.

    Preprocessing and training records are those of the finished run's model. Raises InputError for a run without one,
    for a step that it has no checkpoint of, and for a damaged checkpoint.
    """
    run = open_run(folder)
    if not run.model.is_dir():
        raise InputError(f"{folder}: is not finished; go on with it by --resume, then a checkpoint can become a model")
    finished = load_model(run.model)
    kept = {step_of(path): path for path in list_checkpoints(folder / "checkpoints")}
    if step not in kept:
        raise InputError(
            f"{folder}: has kept no checkpoint of step {step}; there are: {', '.join(map(str, kept)) or 'none'} "
            "(training.checkpoint_every and training.keep_checkpoints say which)"
        )
    objective = build_objective(run.recipe)
    module = Pretraining(objective, run.recipe.training, ())
    check_checkpoint(kept[step], module)
    module.load_state_dict(read_foreign(kept[step])["state_dict"])  # type: ignore[arg-type]
    provenance = finished.provenance.model_copy(update={"steps": step})
    return save_pretrained(output, objective, finished.preprocessing, provenance, finished.records)
