"""The encoders, by `kind`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from anyjepa.config import usual_kind
from anyjepa.nn.convolution import ConvConfig, ConvEncoder
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.genes import GeneConfig, GeneEncoder
from anyjepa.nn.vit import ViT, ViTConfig

AnyEncoderConfig = Annotated[ViTConfig | ConvConfig | GeneConfig, Field(discriminator="kind"), usual_kind("vit")]


def build_encoder(config: ViTConfig | ConvConfig | GeneConfig, channels: int, size: Sequence[int]) -> Encoder:
    """An untrained encoder for inputs (B, channels, *size). Raises ValueError if the sizes do not fit together."""
    if isinstance(config, ConvConfig):
        return ConvEncoder(config, channels, size)
    return GeneEncoder(config, channels, size) if isinstance(config, GeneConfig) else ViT(config, channels, size)
