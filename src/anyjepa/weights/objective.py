"""Rebuild the objective that a model folder was trained with, if the folder has its parts."""

from __future__ import annotations

from anyjepa.objectives.base import Objective
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import STUDENT, LoadedModel, load_model


@torch_defaults()
def load_objective(loaded: LoadedModel) -> Objective | None:
    """Load the objective with its trained weights, in evaluation mode; None if the folder lacks parts that it needs.

    Parts that can be missing are the predictor (most published checkpoints), the student (fine-tuned models) and the
    projector (models trained on views).
    """
    config = loaded.config
    objective = config.objective.build(config.channels, config.size, config.other)
    parts, encoders = objective.parts(), objective.encoders()
    of_views = isinstance(config.objective, PairedPredictionConfig) and config.objective.projector is not None
    has_student = len(encoders) == 1 or (loaded.folder / STUDENT).is_file()
    trained = {"encoder": loaded.encoder, "predictor": loaded.predictor, "second": loaded.second}
    if config.weights not in encoders or of_views or not has_student or any(trained[name] is None for name in parts):
        return None
    if loaded.weights != config.weights:  # the student was requested
        trained["encoder"] = load_model(loaded.folder).encoder
    for name, part in parts.items():
        part.load_state_dict(trained[name].state_dict())  # type: ignore[union-attr]
    if len(encoders) > 1:
        objective.student.load_state_dict(load_model(loaded.folder, "student").encoder.state_dict())
    return objective.eval()
