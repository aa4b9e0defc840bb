"""The encoders, by `kind`."""

from __future__ import annotations

from typing import Annotated

from anyjepa.nn.convolution import ConvConfig
from anyjepa.nn.encoder import EncoderConfig
from anyjepa.nn.genes import GeneConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.nn.wav2vec2 import Wav2Vec2Config
from anyjepa.parts import Kinds

AnyEncoder = Annotated[EncoderConfig, Kinds(ViTConfig, ConvConfig, GeneConfig, Wav2Vec2Config, usual="vit")]
