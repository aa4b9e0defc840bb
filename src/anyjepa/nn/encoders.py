"""Every encoder by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from anyjepa.config import usual_kind
from anyjepa.nn.convolution import ConvConfig, ConvEncoder
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.genes import GeneConfig, GeneEncoder

AnyEncoderConfig = Annotated[EncoderConfig | ConvConfig | GeneConfig, Field(discriminator="kind"), usual_kind("vit")]


def build_encoder(config: EncoderConfig | ConvConfig | GeneConfig, channels: int, size: Sequence[int]) -> Encoder:
    """An untrained encoder for inputs (B, channels, *size). ValueError if the sizes do not fit together."""
    if isinstance(config, ConvConfig):
        return ConvEncoder(config, channels, size)
    return GeneEncoder(config, channels, size) if isinstance(config, GeneConfig) else Encoder(config, channels, size)
