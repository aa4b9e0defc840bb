"""Random changes of colour in batches of images. Each image has its own random generator.

The results are those of torchvision on float images: values are not rounded to grey levels between two changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from anyjepa.config import Config, Share

DRAWS = 11  # random numbers per image: jitter or not, four amounts, four places in the order, grey, solarise


class RecolourConfig(Config):
    """Random colour jitter, greyscale and solarisation, in this order (BYOL, Grill et al. 2020, appendix B).

    The same random numbers are drawn for any settings, so that changing one key does not affect the others.
    """

    brightness: Share = Field(default=0.4, description="multiply values by a factor from 1 - this to 1 + this")
    contrast: Share = Field(default=0.4, description="multiply distances to the mean grey by 1 - this to 1 + this")
    saturation: Share = Field(default=0.2, description="multiply distances to the pixel's grey by 1 - this to 1 + this")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.1, description="rotate the hue by up to this share of a full turn"
    )
    jitter: Share = Field(default=0.8, description="probability of these four, in a random order for each image")
    grey: Share = Field(default=0.2, description="probability of replacing all channels by the grey value")
    solarise: Share = Field(default=0.1, description="probability of inverting bright values")
    bright: Annotated[int, Field(ge=0, le=256)] = Field(
        default=128, description="smallest level, of 255, that solarisation inverts"
    )


def recolour(config: RecolourConfig, x: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Change the colours of x (B, 3, H, W) float32 from 0 to 1 in place, and return it."""
    uniforms = np.stack([rng.random(DRAWS) for rng in rngs])
    jittered, greyed, solarised = (uniforms[:, [0, 9, 10]] < (config.jitter, config.grey, config.solarise)).T
    spreads = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    middles = (1, 1, 1, 0)
    amounts = torch.from_numpy(middles + spreads * (2 * uniforms[:, 1:5] - 1)).float()
    order = uniforms[:, 5:9].argsort(1)
    for turn in order.T:  # each image's first change, its second, ...
        for number, change in enumerate((brightness, contrast, saturation, hue)):
            rows = torch.from_numpy((jittered & (turn == number)).nonzero()[0])
            if spreads[number] and len(rows):
                x.index_copy_(0, rows, change(x.index_select(0, rows), amounts[rows, number, None, None, None]))
    if greyed.any():
        x[greyed] = grey(x[greyed]).expand(-1, 3, -1, -1)
    if solarised.any():
        x[solarised] = solarise(x[solarised], config.bright)
    return x


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """x: (B, 3, H, W) from 0 to 1 here and below; factor: (B, 1, 1, 1)."""
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, grey(x).mean(-1, keepdim=True).mean(-2, keepdim=True), factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, grey(x), factor)


def hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hue, with constant saturation and value (HSV). turns: (B, 1, 1, 1)."""
    red, green, blue = x.unbind(1)
    high = x.amax(1)
    chroma = high - x.amin(1)  # saturation x value
    divisor = chroma.clamp_min(1e-12)  # greys have no hue
    in_green, in_blue = 2 + (blue - red) / divisor, 4 + (red - green) / divisor
    sixths = torch.where(high == red, (green - blue) / divisor, torch.where(high == green, in_green, in_blue))
    pure = torch.tensor([0.0, 2.0, 4.0])[:, None, None]  # sixths of a turn at which red, green and blue are
    ahead = (sixths[:, None] + 6 * turns).remainder_(6) - pure  # -4 to 6
    away = 3 - ahead.abs_().sub_(3).abs_()  # the shorter way round, 0 to 3
    return high[:, None] - chroma[:, None] * away.sub_(1).clamp_(0, 1)


def grey(x: Tensor) -> Tensor:
    """Greyscale of (B, 3, H, W) with torchvision's weights, (B, 1, H, W)."""
    red, green, blue = x.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def solarise(x: Tensor, bright: int) -> Tensor:
    """Invert all values of at least `bright` of 255 levels."""
    return torch.where(x >= float(np.float32(bright) * np.float32(1 / 255)), 1 - x, x)


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp_(0, 1)
