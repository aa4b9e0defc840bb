"""Simulated waves that cross an array of sensors: the embedded series, so that a recipe runs without a download.

The class is the order in which a wave reaches the channels. The distribution of each single channel (its levels, its
spectrum and its course) is the same in all classes, so a model must relate the channels in time to distinguish them.
Frequency, wave form, amplitude, speed and noise vary between series.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from anyjepa.config import Config, Share
from anyjepa.data.series.record import Series
from anyjepa.limits import MEMORY
from anyjepa.randomness import generator

CLASSES = ("forward", "backward", "outward", "inward", "at once", "unrelated")


class WavesConfig(Config):
    """Number, length and difficulty of the series. Series i does not depend on the number of series."""

    kind: Literal["waves"] = "waves"
    series: int = Field(default=4000, ge=1, description="number of series, equally many per class")
    channels: int = Field(default=5, ge=3, le=64, description="sensors in a row")
    samples: int = Field(default=384, ge=32, description="length of a series, samples")
    noise: float = Field(default=0.5, ge=0, description="noise of the sensors, in standard deviations of the wave")
    shares: tuple[Share, Share, Share] = Field(default=(0.7, 0.15, 0.15), description="train, validation, test")
    seed: int = Field(default=0, description="other seeds give other series")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares {self.shares} add up to {sum(self.shares):g}, not to 1")
        return self


def simulate(config: WavesConfig) -> list[Series]:
    """Make all series with classes and a split. Each series is its own group."""
    MEMORY.check(16 * config.series * config.channels * config.samples, f"a simulation of {config.series} series")
    kind = np.arange(config.series) % len(CLASSES)
    values = _waves(config, kind)
    names = [f"waves{config.seed}-{number:05d}" for number in range(config.series)]
    return [
        Series(name, row, CLASSES[k], group=name, split=part, source="simulator")
        for name, row, k, part in zip(names, values, kind, _parts(config), strict=True)
    ]


def _waves(config: WavesConfig, kind: np.ndarray) -> np.ndarray:
    """Waves (N, C, T) float32. Channels have the phase of the wave at earlier times; if `unrelated`, their own."""
    count, channels, samples = config.series, config.channels, config.samples
    draw = generator(config.seed, "waves", 0).random(
        (count, 6 + 7 * channels)
    )  # one row per series, so that more can be appended
    shared, own = draw[:, :6, None], draw[:, 6:].reshape(count, 7, channels, 1)
    alone = (kind == CLASSES.index("unrelated"))[:, None, None]
    period, drift, turn, phase = (np.where(alone, own[:, i], shared[:, i, None]) for i in range(4))
    lag = (0.05 + 0.08 * shared[:, 4]) * _order(channels)[kind]  # (N, C), in periods: up to half a period in all
    place = np.arange(samples) / 64
    cycles = phase + (place * 64 - samples / 2) / (14 * 2.5**period)  # periods of 14 to 35 samples
    cycles = cycles + 0.35 * np.sin(2 * np.pi * (place * (0.1 + 0.2 * drift) + turn))  # quicker and slower at times
    angle = (2 * np.pi * (cycles - lag[..., None])).astype(np.float32)
    beat = 1 + 0.4 * np.sin(2 * np.pi * (place * (0.15 + 0.2 * own[:, 4]) + own[:, 5])).astype(np.float32)
    wave = np.sin(angle) + (0.6 * shared[:, 5, None]).astype(np.float32) * np.sin(2 * angle)
    noise = generator(config.seed, "waves noise", 0).standard_normal((count, channels, samples), dtype=np.float32)
    gain = (0.6 + 0.8 * own[:, 6]).astype(np.float32)
    return gain * beat * wave + np.float32(config.noise * 0.75) * noise


def _order(channels: int) -> np.ndarray:
    """Steps until a wave reaches each channel, (classes, C), scaled to equal longest paths."""
    along = np.arange(channels, dtype=float)
    from_middle = np.abs(along - (channels - 1) / 2) * 2
    none = np.zeros(channels)
    return np.stack([along, along[::-1], from_middle, from_middle.max() - from_middle, none, none])


def _parts(config: WavesConfig) -> list[str]:
    """Part of each series, with the same shares in every class, by golden ratios (mod 1)."""
    turn = np.arange(config.series) // len(CLASSES)
    place = ((turn + 0.5) * (5**0.5 - 1) / 2) % 1
    part = np.searchsorted(np.cumsum(config.shares[:2]), place, side="right")
    return [("train", "validation", "test")[p] for p in part]
