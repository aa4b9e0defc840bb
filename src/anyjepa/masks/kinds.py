"""The mask samplers, by `kind`."""

from __future__ import annotations

from typing import Annotated

from anyjepa.masks.base import MaskSampler
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.masks.temporal import PastFutureConfig
from anyjepa.masks.tubes import TubesConfig
from anyjepa.parts import Kinds

AnyMaskSampler = Annotated[MaskSampler, Kinds(SpanConfig, BlocksConfig, TubesConfig, PastFutureConfig, usual="spans")]
