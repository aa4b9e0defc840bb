"""Every objective by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from anyjepa.config import usual_kind
from anyjepa.objectives.base import Objective
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction

ObjectiveConfig = Annotated[
    MaskedPredictionConfig | NextEmbeddingConfig, Field(discriminator="kind"), usual_kind("masked")
]


def build(config: ObjectiveConfig, channels: int, size: Sequence[int]) -> Objective:
    """An untrained objective for inputs (B, channels, *size). ValueError if the sizes do not fit together."""
    if isinstance(config, NextEmbeddingConfig):
        return NextEmbeddingPrediction(config, channels, size)
    return MaskedPrediction(config, channels, size)
