"""The objectives, by `kind`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch

from anyjepa.limits import PARAMETERS
from anyjepa.objectives.base import ObjectiveConfig
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.parts import Kinds

AnyObjective = Annotated[
    ObjectiveConfig, Kinds(MaskedPredictionConfig, NextEmbeddingConfig, PairedPredictionConfig, usual="masked")
]


def check_parameters(
    config: ObjectiveConfig, channels: int, size: Sequence[int], other: Sequence[int] | None = None
) -> None:
    """Raise InputError if `config.build` would make an objective with too many parameters. Allocates nothing."""
    try:
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in config.build(channels, size, other).parameters())
    except (RuntimeError, OverflowError):  # PyTorch counts bytes with 64 bits
        parameters = 2**61
    PARAMETERS.check(parameters, "objective: the model")
