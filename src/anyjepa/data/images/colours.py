"""Random changes of an image's colours, a whole batch at a time; all numbers of an image come from its own generator.

What torchvision computes on images of floats: nothing is rounded to whole grey levels between two changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from anyjepa.config import Config, Share

DRAWS = 11  # numbers of an image: whether, four amounts, four places in the order, grey, solarised


class RecolourConfig(Config):
    """Colour jitter, greyscale, solarisation, in this order and each by chance (BYOL, Grill et al. 2020, appendix B).

    Of each image all numbers are drawn, whatever the chances, so an edit of one key moves no other.
    """

    brightness: Share = Field(default=0.4, description="all values times 1 - this to 1 + this")
    contrast: Share = Field(default=0.4, description="distances to the mean grey times 1 - this to 1 + this")
    saturation: Share = Field(default=0.2, description="distances to the pixel's grey times 1 - this to 1 + this")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(default=0.1, description="hue turned by -this to this, in turns")
    jitter: Share = Field(default=0.8, description="chance of these four, which come in an order drawn for each image")
    grey: Share = Field(default=0.2, description="chance that all channels become the pixel's grey")
    solarise: Share = Field(default=0.1, description="chance that bright values become their negatives")
    bright: Annotated[int, Field(ge=0, le=256)] = Field(
        default=128, description="least of 255 levels that solarisation turns round"
    )


def recolour(config: RecolourConfig, x: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
    """x: (B, 3, H, W) float32 from 0 to 1, changed in place and returned."""
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
    """Turns the hue, saturation and value of HSV stay; turns: (B, 1, 1, 1)."""
    red, green, blue = x.unbind(1)
    high = x.amax(1)
    chroma = high - x.amin(1)  # saturation x value
    divisor = chroma.clamp_min(1e-12)  # greys have no hue, and need none
    in_green, in_blue = 2 + (blue - red) / divisor, 4 + (red - green) / divisor
    sixths = torch.where(high == red, (green - blue) / divisor, torch.where(high == green, in_green, in_blue))
    pure = torch.tensor([0.0, 2.0, 4.0])[:, None, None]  # sixths of a turn at which red, green and blue are
    ahead = (sixths[:, None] + 6 * turns).remainder_(6) - pure  # -4 to 6
    away = 3 - ahead.abs_().sub_(3).abs_()  # the shorter way round, 0 to 3
    return high[:, None] - chroma[:, None] * away.sub_(1).clamp_(0, 1)


def grey(x: Tensor) -> Tensor:
    """(B, 1, H, W) of (B, 3, H, W), with torchvision's weights."""
    red, green, blue = x.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def solarise(x: Tensor, bright: int) -> Tensor:
    """Negatives of all values from `bright` of 255 levels on."""
    return torch.where(x >= float(np.float32(bright) * np.float32(1 / 255)), 1 - x, x)


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp_(0, 1)
