"""The vision transformer: patches in, one vector per token out. Computes only the visible tokens."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from anyjepa.config import Depth, Width
from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.packing import Layout, Packed, gather_rows
from anyjepa.nn.positions import AnyPositions, SinCosConfig, build_positions, coordinates
from anyjepa.nn.tokens import patchify
from anyjepa.nn.transformer import BlockConfig, Transformer, build_norm, initialise


class ViTConfig(EncoderConfig):
    """A vision transformer over 1, 2 or 3 axes. Channels and input size come from the data."""

    kind: Literal["vit"] = "vit"
    patch: tuple[Width, ...] = Field(description="samples (pixels, frames) per token along each axis")
    dim: Width = Field(description="width D")
    depth: Depth = Field(description="blocks")
    heads: PositiveInt = Field(description="attention heads")
    positions: AnyPositions = Field(default=SinCosConfig(), description="how tokens know their positions")
    block: BlockConfig = BlockConfig()
    registers: NonNegativeInt = Field(
        default=0, le=4096, description="learned tokens before the patches, without a position, never masked"
    )
    cls: bool = Field(default=False, description="a CLS token before the registers")
    prefix_std: PositiveFloat = Field(
        default=0.02, description="standard deviation of the initial CLS and register tokens"
    )
    absent: bool = Field(
        default=False,
        description="treat channels that are NaN throughout as absent: they count as zero, and each adds a learned "
        "vector to every token",
    )
    causal: bool = Field(default=False, description="a token sees only itself and earlier ones")
    separate: bool = Field(
        default=False,
        description="each channel has its own tokens: channels are the last axis of the grid (ECG-JEPA of Kim 2024)",
    )
    cross: bool = Field(
        default=False,
        description="a token attends only to tokens that share a coordinate with it, such as its time or its channel, "
        "and to prefix tokens (Kim's cross-pattern attention)",
    )
    positions_again: bool = Field(
        default=False, description="add positions before every block, not only before the first (Kim 2024)"
    )
    init: Literal["scaled", "plain"] = Field(
        default="scaled",
        description="deviation of residual projections: 0.02 / sqrt(2 depth), or plain 0.02",
    )
    levels: tuple[NonNegativeInt, ...] = Field(
        default=(),
        max_length=64,
        description="earlier blocks, in order, whose outputs masked prediction also sees and predicts, each with its "
        "own norm (V-JEPA 2.1); embeddings are outputs of the last block only",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.causal and (self.separate or self.cross):
            raise ValueError("causal: tokens of one time have no order; leave separate and cross out")
        if self.absent and self.separate:
            raise ValueError(
                "absent: an absent channel has no tokens of its own to add a vector to; set separate=false"
            )
        if self.cross and len(self.patch) + self.separate < 2:
            raise ValueError("cross: needs tokens with two coordinates; set separate=true")
        if self.positions_again and self.positions.kind not in ("sincos", "learned"):
            raise ValueError(f"positions_again: {self.positions.kind} positions are in every block already")
        if list(self.levels) != sorted(set(self.levels)) or max(self.levels, default=-1) >= self.depth - 1:
            raise ValueError(f"levels must be numbers of blocks in order, from 0 to {self.depth - 2}")
        return self

    @property
    def out(self) -> int:
        return self.dim * (1 + len(self.levels))

    def grid(self, channels: int, samples: Sequence[int]) -> tuple[int, ...]:
        places = super().grid(channels, samples)
        return (*places, channels) if self.separate else places

    def build(self, channels: int, size: Sequence[int]) -> ViT:
        return ViT(self, channels, size)


class ViT(Encoder):
    """Patch projection, positions, prefix tokens, transformer, final norm (I-JEPA, V-JEPA, ECG-JEPA).

    channels: C; size: samples along each axis of a full input. Inputs may be shorter by whole patches.
    """

    config: ViTConfig

    def __init__(self, config: ViTConfig, channels: int, size: Sequence[int]):
        super().__init__(config, channels, size, config.grid(channels, size))
        samples = prod(config.patch) * (1 if config.separate else channels)
        self.project = nn.Linear(samples, config.dim, bias=config.block.bias)
        prefix = config.cls + config.registers
        self.prefix = nn.Parameter(torch.empty(prefix, config.dim), requires_grad=prefix > 0)
        self.absent = nn.Parameter(torch.zeros(channels, config.dim)) if config.absent else None
        self.positions, self.rotary = build_positions(config.positions, config.dim, config.heads, self.grid)
        self.transformer = Transformer(config.block, config.dim, config.depth, config.heads)
        self.level_norms = nn.ModuleList(build_norm(config.block, config.dim) for _ in config.levels)
        self.norm = build_norm(config.block, config.dim)
        initialise(self, config.depth if config.init == "scaled" else None)
        std = config.prefix_std
        nn.init.trunc_normal_(self.prefix, std=std, a=-100 * std, b=100 * std)

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        valid: Tensor | None = None,
        start: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Packed:
        """x: (B, C, *samples) -> patch tokens, packed (sum K, config.out), without prefix tokens.

        keep: (B, K) token numbers to encode, None: all; valid: (B, K) False where `keep` is padding; start: (B,) the
        first token's place on the first axis, in tokens, None: 0; shown: (B, N) factors of the tokens and their
        positions, 0 hides a token in place (if `keep` is None).
        """
        values, layout = self._encode(x, keep, valid, start, shown, self.config.levels)
        if prefix := len(self.prefix):
            inner = Layout(layout.batch, layout.length - prefix, valid)
            values, layout = inner.pack(layout.pad(values)[:, prefix:]), inner
        norms = [*self.level_norms, self.norm]
        levels = [norm(level) for norm, level in zip(norms, values.chunk(len(norms), dim=-1), strict=True)]
        return Packed(torch.cat(levels, dim=-1) if len(levels) > 1 else levels[0], layout)

    def features(self, x: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: (B, C, *samples) -> prefix tokens (B, R, D) and all patch tokens (B, N, D).

        Separate tokens of the channels are averaged, so there is one per place in time.
        """
        values, layout = self._encode(x, None, None, start)
        tokens = layout.pad(self.norm(values))
        prefix, patches = tokens[:, : len(self.prefix)], tokens[:, len(self.prefix) :]
        return prefix, patches.unflatten(1, (-1, self.channels)).mean(2) if self.config.separate else patches

    def embed(self, x: Tensor) -> Tensor:
        """x: (B, C, *samples) -> projected patches (B, N, D): the transformer's input before positions."""
        return self.project(self._patches(x))

    def read(self, embedded: Tensor, grid: Sequence[int]) -> Tensor:
        """Projected patches (B, N, D), the first N of a grid in raster order -> outputs (B, R + N, D), prefix first.

        Only for rotary positions. `features` of an input with this grid gives the same outputs.
        """
        assert self.rotary is not None, "additive positions are part of the input, not of its patches"
        tokens = torch.cat([self.prefix.expand(len(embedded), -1, -1), embedded], dim=1)
        layout = Layout(len(tokens), tokens.shape[1])
        angles = self._angles(tuple(grid), None, None)[..., : tokens.shape[1], :]  # type: ignore[index]
        return layout.pad(self.norm(self.transformer(layout.pack(tokens), layout, angles, self.config.causal)))

    def _encode(
        self,
        x: Tensor,
        keep: Tensor | None,
        valid: Tensor | None,
        start: Tensor | None,
        shown: Tensor | None = None,
        levels: tuple[int, ...] = (),
    ) -> Packed:
        if x.shape[1] != self.channels:
            raise ValueError(f"input has {x.shape[1]} channels, the encoder was built for {self.channels}")
        absent = None
        if self.absent is not None:
            missing = x.isnan().flatten(2).all(2)  # (B, C)
            x = x.masked_fill(missing.view(*missing.shape, *[1] * (x.ndim - 2)), 0.0)
            absent = missing.to(self.absent.dtype) @ self.absent  # (B, D)
        patches = self._patches(x)
        grid = self.grid_of(x)
        if keep is not None:
            patches = gather_rows(patches, keep)  # (B, K, ...)
        layout = Layout(patches.shape[0], patches.shape[1], valid)
        tokens = layout.pad(self.project(layout.pack(patches)).to(self.prefix.dtype))  # (B, K, D), float32 in autocast
        if absent is not None:
            tokens = tokens + absent.unsqueeze(1)
        places = None if self.positions is None else _rows(self.positions(grid, start), keep)  # (N, D) or (B, K, D)
        if places is not None:
            tokens = tokens + places
        if shown is not None:
            tokens = tokens * shown.unsqueeze(-1)
        if len(self.prefix):
            tokens = torch.cat([self.prefix.expand(layout.batch, -1, -1), tokens], dim=1)
            layout = layout.with_prefix(len(self.prefix))
        values = self.transformer(
            layout.pack(tokens),
            layout,
            self._angles(grid, start, keep),
            self.config.causal,
            sees=self._sees(grid, keep, layout),
            again=self._again(places, shown, layout),
            levels=levels,
        )
        return Packed(values, layout)

    def _patches(self, x: Tensor) -> Tensor:
        """(B, C, *samples) -> (B, N, C * prod(patch)), or (B, N, prod(patch)) of separate channels."""
        patches = patchify(x, self.config.patch)
        return patches.unflatten(2, (self.channels, -1)).flatten(1, 2) if self.config.separate else patches

    def _angles(self, grid: tuple[int, ...], start: Tensor | None, keep: Tensor | None) -> Tensor | None:
        if self.rotary is None:
            return None
        angles = _rows(self.rotary(grid, start), keep)  # (B, K, head_dim) or (N, head_dim)
        angles = nn.functional.pad(angles, (0, 0, len(self.prefix), 0))  # prefix tokens: angle 0
        return angles.unsqueeze(-3) if angles.ndim == 3 else angles[None, None]

    def _sees(self, grid: tuple[int, ...], keep: Tensor | None, layout: Layout) -> Tensor | None:
        """(B or 1, L, L): which tokens each token attends to, if it does not attend to all."""
        if not self.config.cross:
            return None
        places = _rows(coordinates(grid, self.prefix.device), keep)  # (B, K, axes) or (N, axes)
        shares = (places.unsqueeze(-2) == places.unsqueeze(-3)).any(-1)
        prefix = len(self.prefix)
        sees = nn.functional.pad(shares, (prefix, 0, prefix, 0), value=True)
        sees = sees if sees.ndim == 3 else sees[None]
        if layout.valid is None:
            return sees
        return sees & layout.valid.unsqueeze(1) | ~layout.valid.unsqueeze(2)  # padding sees all: softmax needs a key

    def _again(self, places: Tensor | None, shown: Tensor | None, layout: Layout) -> Tensor | None:
        """(S, D): positions to add between blocks, zero for prefix tokens."""
        if places is None or not self.config.positions_again:
            return None
        places = places if shown is None else places * shown.unsqueeze(-1)
        places = nn.functional.pad(places, (0, 0, len(self.prefix), 0))
        return layout.pack(places.expand(layout.batch, -1, -1))


def _rows(table: Tensor, keep: Tensor | None) -> Tensor:
    return table if keep is None else gather_rows(table, keep)
