"""The objectives, by `kind`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from anyjepa.config import usual_kind
from anyjepa.limits import PARAMETERS
from anyjepa.nn.conditional import ConditionalPredictor
from anyjepa.objectives.base import Objective
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.objectives.paired import PairedPrediction, PairedPredictionConfig

ObjectiveConfig = Annotated[
    MaskedPredictionConfig | NextEmbeddingConfig | PairedPredictionConfig,
    Field(discriminator="kind"),
    usual_kind("masked"),
]


def predictor_of(config: ObjectiveConfig, grid: Sequence[int]) -> nn.Module | None:
    """An objective's predictor, untrained; None if it has none. grid: the encoder's full token grid."""
    if isinstance(config, MaskedPredictionConfig):
        return config.predictor.build(config.encoder, grid)
    if isinstance(config, PairedPredictionConfig) and config.predictor is not None:
        return ConditionalPredictor(config.predictor, config.width)
    return None


def check_parameters(
    config: ObjectiveConfig, channels: int, size: Sequence[int], other: Sequence[int] | None = None
) -> None:
    """Raise InputError if `build` would make an objective with too many parameters. Allocates nothing."""
    try:
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in build(config, channels, size, other).parameters())
    except (RuntimeError, OverflowError):  # PyTorch counts bytes with 64 bits
        parameters = 2**61
    PARAMETERS.check(parameters, "objective: the model")


def build(config: ObjectiveConfig, channels: int, size: Sequence[int], other: Sequence[int] | None = None) -> Objective:
    """An untrained objective for inputs (B, channels, *size).

    other: size of the second sample of a pair, if it is of another modality. Raises ValueError if the sizes do not fit
    together.
    """
    if isinstance(config, PairedPredictionConfig):
        return PairedPrediction(config, channels, size, other)
    if isinstance(config, NextEmbeddingConfig):
        return NextEmbeddingPrediction(config, channels, size)
    return MaskedPrediction(config, channels, size)
