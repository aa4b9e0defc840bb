"""Save any checkpoint of a run as a model folder, for example to choose the best one by evaluation."""

from __future__ import annotations

from pathlib import Path

from anyjepa.errors import InputError
from anyjepa.objectives.base import Objective
from anyjepa.runs.folder import Run, open_run
from anyjepa.runs.objective import build_objective
from anyjepa.torch_defaults import torch_defaults
from anyjepa.training.checkpoint_files import best_checkpoints, list_checkpoints, step_of
from anyjepa.training.checkpoints import check_checkpoint
from anyjepa.training.module import Pretraining
from anyjepa.weights.folder import load_model, save_pretrained
from anyjepa.weights.foreign import read_foreign


def load_checkpoint(run: Run, path: Path) -> Objective:
    """The objective of a run as it was at a checkpoint. Raises InputError if the file is damaged."""
    objective = build_objective(run.recipe)
    module = Pretraining(objective, run.recipe.training, ())
    check_checkpoint(path, module)
    module.load_state_dict(read_foreign(path)["state_dict"])  # type: ignore[arg-type]
    return objective


@torch_defaults()
def save_checkpointed(folder: Path, step: int, output: Path) -> Path:
    """Write the model that a run in `folder` had after `step` optimiser steps to a model folder `output`.

    Preprocessing and training records are those of the model of the finished run. Raises InputError if the run is not
    finished, if it has no checkpoint of this step, and if the checkpoint is damaged.
    """
    run = open_run(folder)
    if not run.model.is_dir():
        raise InputError(f"{folder}: is not finished; resume it with pretrain --resume before exporting a checkpoint")
    finished = load_model(run.model)
    checkpoints = folder / "checkpoints"
    kept = {step_of(path): path for path in [*best_checkpoints(checkpoints), *list_checkpoints(checkpoints)]}
    if step not in kept:
        raise InputError(
            f"{folder}: has no checkpoint of step {step}; there are: {', '.join(map(str, kept)) or 'none'} "
            "(see training.checkpoint_every and training.keep_checkpoints)"
        )
    objective = load_checkpoint(run, kept[step])
    provenance = finished.provenance.model_copy(update={"steps": step})
    return save_pretrained(output, objective, finished.preprocessing, provenance, finished.records)
