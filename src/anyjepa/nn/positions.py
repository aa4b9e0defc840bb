"""Positions of tokens: sin-cos and learned tables to add, and rotary angles for queries and keys.

Coordinates count tokens from the start of the input, along each axis. `start` shifts a sample along the first axis, so
a crop can keep its absolute time in its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, pi, prod
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Config


class SinCosConfig(Config):
    """Fixed sines and cosines of geometric frequencies (Vaswani et al. 2017), with dimensions divided between axes."""

    kind: Literal["sincos"] = "sincos"
    layout: Literal["interleaved", "halves"] = Field(
        default="interleaved",
        description="sines and cosines alternate (ECG-JEPA), or all sines, then all cosines (I-JEPA, V-JEPA)",
    )
    base: PositiveFloat = Field(default=10000.0, description="wavelengths go from 2 pi to 2 pi x base tokens")
    axes: Literal["even", "last_first", "time_half"] = Field(
        default="even",
        description="even: equally many dimensions per axis (V-JEPA's uniform_power); last_first: the same, last "
        "axis first (I-JEPA: columns, then rows); time_half: half for time, a quarter for each of two other axes",
    )


class LearnedConfig(Config):
    """A learned table, one row per token of the full grid, initially N(0, std^2)."""

    kind: Literal["learned"] = "learned"
    std: PositiveFloat = Field(default=0.02, description="standard deviation of the initial rows")


class RotaryConfig(Config):
    """Rotary angles (Su et al. 2021) from coordinates that map the full grid to [-1, 1] (DINOv3, NEPA).

    Tokens of a shorter or shifted input keep the angles that they have on the full grid.
    """

    kind: Literal["rotary"] = "rotary"
    theta: PositiveFloat = Field(default=100.0, description="ratio of the fastest to the slowest frequency")
    rescale: float | None = Field(
        default=None,
        gt=1,
        description="in training, multiply all coordinates by one number per forward pass, log-uniform from "
        "1 / rescale to rescale (NEPA on images: 2); none: do not rescale",
    )
    span: Literal["grid", "input"] = Field(
        default="grid",
        description="what maps to [-1, 1]: the full grid, so that coordinates are absolute; or any input, so that "
        "a shorter one is stretched (needed for the official NEPA's checkpoints)",
    )


class AxialRotaryConfig(Config):
    """Rotary angles from the numbers of tokens along each axis, which share the dimensions of a head (V-JEPA 2).

    An equal share is even; dimensions that are left over are not rotated.
    """

    kind: Literal["axial"] = "axial"
    base: PositiveFloat = Field(default=10000.0, description="ratio of the fastest to the slowest frequency, nearly")
    frequencies: Literal["neighbours", "same"] = Field(
        default="neighbours",
        description="of the two members of a rotated pair: neighbours in the list (V-JEPA 2), or the same, so that "
        "lengths are kept (V-JEPA 2.1)",
    )
    stretch: int | None = Field(
        default=None,
        ge=2,
        description="coordinates of all axes but the first go from 0 to this number - 1, whatever the size of the "
        "input (V-JEPA 2.1: 16); none: they count tokens",
    )
    axes: PositiveInt | None = Field(
        default=None,
        le=8,
        description="axes that share a head; an input with fewer lies at 0 of the first ones, as an image does in time "
        "(V-JEPA 2.1: 3); none: those of the input",
    )


AnyPositions = Annotated[SinCosConfig | LearnedConfig | RotaryConfig | AxialRotaryConfig, Field(discriminator="kind")]


class AdditivePositions(nn.Module):
    """A fixed or learned table of vectors to add to tokens."""

    table: Tensor

    def __init__(self, config: SinCosConfig | LearnedConfig, dim: int, grid: Sequence[int]):
        super().__init__()
        self.config, self.dim, self.grid = config, dim, tuple(grid)
        if isinstance(config, LearnedConfig):
            table = torch.randn(prod(grid), dim)
            # A product of meta tensors would import torch's compiler, which takes longer than loading a model.
            self.learned = nn.Parameter(table if table.is_meta else table * config.std)
        else:
            self.register_buffer("table", sincos_table(config, dim, self.grid), persistent=False)

    def forward(self, grid: Sequence[int], start: Tensor | None = None) -> Tensor:
        """(N, D), or (B, N, D) with start (B,), the first axis's coordinate of each sample's first token, in tokens.

        Raises ValueError for learned positions with `start` or on a different grid (a 1-D grid may be shorter).
        """
        grid = tuple(grid)
        if isinstance(self.config, LearnedConfig):
            shorter = len(grid) == 1 and grid[0] <= self.grid[0]
            if start is not None or not (grid == self.grid or shorter):
                raise ValueError(
                    f"learned positions of a {self.grid} grid cannot serve a {grid} grid or a shifted start"
                )
            return self.learned[: prod(grid)]
        if start is not None:
            return sincos(self.config, self.dim, coordinates(grid, start.device, start).double()).to(self.table)
        if grid == self.grid:
            return self.table
        return sincos_table(self.config, self.dim, grid).to(self.table)


def coordinates(grid: Sequence[int], device: torch.device | None = None, start: Tensor | None = None) -> Tensor:
    """Token coordinates of a grid in raster order, (N, axes), or (B, N, axes) with `start` (B,) on the first axis."""
    axes = [torch.arange(n, device=device, dtype=torch.float32) for n in grid]
    coords = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    if start is None:
        return coords
    shift = torch.zeros(len(start), 1, len(grid), device=device)
    shift[:, 0, 0] = start
    return coords + shift


def sincos_table(config: SinCosConfig, dim: int, grid: tuple[int, ...]) -> Tensor:
    """The table of a grid, (N, dim), computed in float64 on the CPU, even for a model on the meta device."""
    return sincos(config, dim, coordinates(grid, torch.device("cpu")).double()).float()


def sincos(config: SinCosConfig, dim: int, coords: Tensor) -> Tensor:
    """coords: (..., axes) in tokens -> (..., dim). One block of dimensions per axis, cut to `dim`."""
    if config.axes == "last_first":
        coords = coords.flip(-1)
    blocks = []
    for axis, size in enumerate(_dims_per_axis(dim, coords.shape[-1], config.axes)):
        rates = config.base ** (-torch.arange(size // 2, device=coords.device, dtype=coords.dtype) * 2 / size)
        angles = coords[..., axis, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1 if config.layout == "interleaved" else -2)
        blocks.append(waves.flatten(-2))
    return torch.cat(blocks, dim=-1)[..., :dim]


def _dims_per_axis(dim: int, axes: int, rule: str) -> list[int]:
    """Even numbers that add up to at least `dim`."""
    if rule == "time_half":
        if axes != 3 or dim % 8:
            raise ValueError(f"time_half positions need 3 axes and a width of a multiple of 8, got {axes} and {dim}")
        return [dim // 2, dim // 4, dim // 4]
    return [2 * ceil(dim / (2 * axes))] * axes


class Rotary(nn.Module):
    """Angles that rotate the queries and keys of patch tokens; prefix tokens are not rotated."""

    rates: Tensor

    def __init__(self, config: RotaryConfig, head_dim: int, grid: Sequence[int]):
        super().__init__()
        self.config, self.grid = config, tuple(grid)
        if head_dim % (2 * len(self.grid)):
            raise ValueError(
                f"rotary positions on {self.grid} need a multiple of {2 * len(self.grid)} dims per head, got {head_dim}"
            )
        steps = torch.arange(head_dim // (2 * len(self.grid)), dtype=torch.float64, device="cpu")  # also on 'meta'
        self.register_buffer(
            "rates", (config.theta ** (-steps * 2 * len(self.grid) / head_dim)).float(), persistent=False
        )

    def forward(self, grid: Sequence[int], start: Tensor | None = None) -> Tensor:
        """Angles in radians, (N, head_dim), or (B, N, head_dim) with `start` (B,) in tokens on the first axis.

        Raises ValueError for stretched coordinates with `start`.
        """
        stretched = self.config.span == "input"
        if stretched and start is not None:
            raise ValueError("rotary positions with span=input have no absolute place: leave out `start`")
        coords = coordinates(grid, self.rates.device, start)
        full = torch.tensor(tuple(grid) if stretched else self.grid, device=coords.device, dtype=coords.dtype)
        coords = (2 * coords + 1) / full - 1
        if self.training and self.config.rescale is not None:
            coords = coords * self.config.rescale ** (2 * torch.rand((), device=coords.device) - 1)
        angles = 2 * pi * coords[..., None] * self.rates  # (..., N, axes, rates)
        return angles.flatten(-2).repeat(*[1] * (coords.ndim - 1), 2)


class AxialRotary(nn.Module):
    """Angles that rotate the queries and keys of patch tokens, for `AxialRotaryConfig`; see `Rotary`."""

    rates: Tensor

    def __init__(self, config: AxialRotaryConfig, head_dim: int, grid: Sequence[int]):
        super().__init__()
        axes = config.axes or len(grid)
        if axes < len(grid):
            raise ValueError(f"axial positions of {axes} axes cannot serve a {tuple(grid)} grid")
        self.stretch, self.skipped = config.stretch, axes - len(grid)
        pairs = head_dim // axes // 2
        if pairs == 0 or head_dim % 2:
            raise ValueError(
                f"axial positions on {tuple(grid)} need an even number, {2 * axes} or more, of dims per head, "
                f"got {head_dim}"
            )
        numbers = torch.arange(2 * pairs, dtype=torch.float64, device="cpu")  # of an axis's frequencies
        numbers = numbers % pairs if config.frequencies == "neighbours" else numbers // 2
        shares = (config.base ** (-numbers / pairs)).view(pairs, 2).T  # first members, second members
        rates = torch.zeros(axes, 2, head_dim // 2, dtype=torch.float64, device="cpu")
        for axis in range(axes):
            rates[axis, :, axis * pairs : (axis + 1) * pairs] = shares
        self.register_buffer(
            "rates", rates.flatten(1)[self.skipped :].float(), persistent=False
        )  # (axes of grid, head_dim)

    def forward(self, grid: Sequence[int], start: Tensor | None = None) -> Tensor:
        """Angles in radians, (N, head_dim), or (B, N, head_dim) with `start` (B,) in tokens on the first axis."""
        coords = coordinates(grid, self.rates.device, start)
        if self.stretch is not None:
            scales = [(self.stretch - 1) / max(length - 1, 1) for length in grid]
            if self.skipped == 0:
                scales[0] = 1.0
            coords = coords * torch.tensor(scales, device=coords.device)
        return (coords[..., None] * self.rates).sum(-2)


def build_positions(config: AnyPositions, dim: int, heads: int, grid: Sequence[int]) -> tuple[Any, Any]:
    """A table to add to tokens, or angles for queries and keys; the other is None. dim: D, which all heads share."""
    if isinstance(config, RotaryConfig):
        return None, Rotary(config, dim // heads, grid)
    if isinstance(config, AxialRotaryConfig):
        return None, AxialRotary(config, dim // heads, grid)
    return AdditivePositions(config, dim, grid), None


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """x: (B, H, L, head_dim); angles: (B or 1, 1, L, head_dim). Pairs are (i, i + head_dim / 2)."""
    first, second = x.chunk(2, dim=-1)
    orthogonal = torch.cat([-second, first], dim=-1)
    return (x * angles.cos() + orthogonal * angles.sin()).to(x.dtype)
