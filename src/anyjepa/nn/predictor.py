"""Predictors for masked prediction: transformers over the encoded visible tokens."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, PlainValidator, PositiveInt
from torch import Tensor, nn

from anyjepa.config import Width as EncoderWidth
from anyjepa.nn.encoder import EncoderConfig
from anyjepa.nn.packing import Layout, Packed, gather_rows
from anyjepa.nn.positions import AdditivePositions, AxialRotaryConfig, LearnedConfig, SinCosConfig, build_positions
from anyjepa.nn.transformer import BlockConfig, Transformer, build_norm, initialise
from anyjepa.parts import Kinds, Part


def _size(most: int) -> PlainValidator:
    """A positive whole number, or a ratio to the encoder's size such as x0.5."""

    def check(value: object) -> int | str:
        number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
        ratio = isinstance(value, str) and re.fullmatch(r"x\d{0,3}\.?\d{1,6}", value) and float(value[1:]) > 0
        if number or ratio:
            return value  # type: ignore[return-value]
        raise ValueError(f"must be 1 to {most}, or a ratio to the encoder's such as x0.5")

    return PlainValidator(check, json_schema_input_type=int | str)


Width = Annotated[int | str, _size(2**16)]
Depth = Annotated[int | str, _size(1000)]


class MaskedPredictorConfig(Part):
    """Base of predictors of masked prediction. Sizes are numbers, or relative to the encoder's.

    everywhere: whether the predictor predicts all tokens of the grid, also visible ones.
    """

    everywhere: ClassVar[bool] = False

    dim: Width = Field(description="width, or its ratio to the encoder's: x0.5")
    depth: Depth = Field(description="blocks, or their ratio to the encoder's: x0.5")
    heads: PositiveInt = Field(description="attention heads")
    block: BlockConfig = BlockConfig()

    def sized(self, encoder: EncoderConfig) -> Self:
        """The same config with sizes in numbers, at least 1. Raises ValueError if they are far too large."""
        numbers = {name: _number(name, getattr(self, name), encoder) for name in ("dim", "depth")}
        for name, most in (("dim", 2**16), ("depth", 1000)):
            if numbers[name] > most:
                raise ValueError(f"predictor.{name}={getattr(self, name)} is {numbers[name]}, more than {most}")
        return self.model_copy(update=numbers)

    @abstractmethod
    def build(self, encoder: EncoderConfig, grid: Sequence[int], residual_depth: int | None = None) -> nn.Module:
        """An untrained predictor, called as `MaskedPredictor`.

        grid: the full token grid; residual_depth: see `initialise` (ECG-JEPA).
        """


def _number(name: str, size: int | str, encoder: EncoderConfig) -> int:
    if isinstance(size, int):
        return size
    if not hasattr(encoder, name):
        raise ValueError(f"predictor.{name}={size}: an encoder of kind {encoder.kind} has no {name}; set a number")
    return max(1, round(float(size[1:]) * getattr(encoder, name)))


class PredictorConfig(MaskedPredictorConfig):
    """A narrow transformer over the context tokens and one mask token per target."""

    kind: Literal["masked_token"] = "masked_token"
    positions: SinCosConfig | LearnedConfig | AxialRotaryConfig = Field(
        default=SinCosConfig(), discriminator="kind", description="positions of the predictor"
    )
    mask_tokens: PositiveInt = Field(
        default=1, description="learned mask tokens: one for all groups of targets, or one per group (V-JEPA)"
    )
    mask_init: Literal["normal", "zeros"] = Field(
        default="normal", description="initial mask tokens: N(0, 0.02^2), or zero (V-JEPA)"
    )
    hidden: EncoderWidth | None = Field(
        default=None,
        description="width of a layer with GELU before the first projection (V-JEPA 2.1: the encoder's); none: no such "
        "layer",
    )
    out: EncoderWidth | None = Field(
        default=None, description="width of a prediction, if it is of tokens of another encoder; none: this one's"
    )

    def build(self, encoder: EncoderConfig, grid: Sequence[int], residual_depth: int | None = None) -> MaskedPredictor:
        return MaskedPredictor(self.sized(encoder), encoder.out, grid, residual_depth)


class DensePredictorConfig(MaskedPredictorConfig):
    """A transformer over all tokens, with zeros for hidden ones, that predicts all of them."""

    kind: Literal["dense"] = "dense"
    everywhere: ClassVar[bool] = True
    dim: Width = Field(default="x1", description="width, or its ratio to the encoder's")
    depth: Depth = Field(default="x0.5", description="blocks, or their ratio to the encoder's")
    positions: Annotated[SinCosConfig | LearnedConfig, Field(discriminator="kind")] | None = Field(
        default=SinCosConfig(),
        description="positions of the predictor; none: all hidden tokens get the same prediction",
    )
    project: bool = Field(
        default=False, description="a final Linear layer; always there if the width differs from the encoder's"
    )

    def build(self, encoder: EncoderConfig, grid: Sequence[int], residual_depth: int | None = None) -> DensePredictor:
        return DensePredictor(self.sized(encoder), encoder.out, grid, residual_depth)


AnyPredictor = Annotated[MaskedPredictorConfig, Kinds(PredictorConfig, DensePredictorConfig, usual="masked_token")]


class MaskedPredictor(nn.Module):
    """Predicts every target token, a vector of the encoder's width (g_phi of I-JEPA).

    config: with sizes in numbers; dim: the width of the encoder's tokens; grid: its full token grid; residual_depth:
    see `initialise` (ECG-JEPA: the encoder's).
    """

    def __init__(self, config: PredictorConfig, dim: int, grid: Sequence[int], residual_depth: int | None = None):
        super().__init__()
        self.config, width, depth = config, int(config.dim), int(config.depth)
        bias = config.block.bias
        widths = [dim, width] if config.hidden is None else [dim, config.hidden, width]
        layers = [nn.Linear(before, after, bias=bias) for before, after in pairwise(widths)]
        self.embed = layers[0] if config.hidden is None else nn.Sequential(layers[0], nn.GELU(), layers[1])
        self.mask_tokens = nn.Parameter(torch.empty(config.mask_tokens, width))
        self.positions, self.rotary = build_positions(config.positions, width, config.heads, grid)
        self.transformer = Transformer(config.block, width, depth, config.heads)
        self.norm = build_norm(config.block, width)
        self.proj = nn.Linear(width, config.out or dim, bias=bias)
        initialise(self, residual_depth)
        if config.mask_init == "normal":
            nn.init.trunc_normal_(self.mask_tokens, std=0.02)
        else:
            nn.init.zeros_(self.mask_tokens)

    def forward(
        self,
        context: Packed,
        context_index: Tensor,
        target_index: Tensor,
        target_valid: Tensor | None,
        grid: Sequence[int],
        start: Tensor | None = None,
        group: int = 0,
    ) -> Tensor:
        """context: (sum K, D), the tokens context_index (B, K); target_index: (B, M, T) -> (sum T, D).

        The M blocks are predicted independently. target_valid: (B, M, T), None if all are valid; group: the number of
        this group of targets.
        """
        blocks, targets = target_index.shape[1:]
        places = (self.positions or self.rotary)(grid, start)
        seen_places, hidden_places = gather_rows(places, context_index), gather_rows(places, target_index)
        seen = context.layout.pad(self.embed(context.values))  # (B, K, d)
        mask_token, angles = self.mask_tokens[group % len(self.mask_tokens)], None
        if self.rotary is None:
            seen = seen + seen_places
            hidden = (mask_token + hidden_places).flatten(0, 1)  # (B * M, T, d)
        else:
            hidden = mask_token.expand(len(seen) * blocks, targets, -1)
            joint = [seen_places.repeat_interleave(blocks, dim=0), hidden_places.flatten(0, 1)]
            angles = torch.cat(joint, dim=1).unsqueeze(1)  # (B * M, 1, K + T, d / H)
        seen = seen.repeat_interleave(blocks, dim=0) if blocks > 1 else seen
        layout = _joint_layout(context.layout, blocks, targets, target_valid)
        x = layout.pack(torch.cat([seen, hidden.to(seen.dtype)], dim=1))  # (sum of K + T, d)
        return self.proj(self.norm(self.transformer(x, layout, angles, read=layout.last(targets, x.device))))


class DensePredictor(nn.Module):
    """Predicts every token of the grid, a vector of the encoder's width. Arguments: see `MaskedPredictor`."""

    def __init__(self, config: DensePredictorConfig, dim: int, grid: Sequence[int], residual_depth: int | None = None):
        super().__init__()
        self.config, width, depth = config, int(config.dim), int(config.depth)
        other, bias = width != dim, config.block.bias
        self.embed = nn.Linear(dim, width, bias=bias) if other else nn.Identity()
        self.positions = None if config.positions is None else AdditivePositions(config.positions, width, grid)
        self.transformer = Transformer(config.block, width, depth, config.heads)
        self.norm = build_norm(config.block, width)
        self.proj = nn.Linear(width, dim, bias=bias) if other or config.project else nn.Identity()
        initialise(self, residual_depth)

    def forward(
        self,
        context: Packed,
        context_index: Tensor,
        target_index: Tensor,
        target_valid: Tensor | None,
        grid: Sequence[int],
        start: Tensor | None = None,
        group: int = 0,
    ) -> Tensor:
        """context: (sum K, D), the tokens context_index (B, K); target_index: (B, 1, N), all tokens -> (B * N, D)."""
        batch, _, tokens = target_index.shape
        rows = context.layout.pack(context_index + tokens * torch.arange(batch, device=context_index.device)[:, None])
        seen = self.embed(context.values).float()  # as in the encoder, the residual stream is float32
        x = seen.new_zeros(batch * tokens, seen.shape[-1]).index_copy(0, rows, seen)
        layout = Layout(batch, tokens)
        if self.positions is not None:
            x = layout.pack(layout.pad(x) + self.positions(grid, start))
        return self.proj(self.norm(self.transformer(x, layout)))


def _joint_layout(context: Layout, blocks: int, targets: int, target_valid: Tensor | None) -> Layout:
    """The layout of [context, one block of targets], one row per sample and block."""
    batch, length = context.batch * blocks, context.length + targets
    if context.valid is None and target_valid is None:
        return Layout(batch, length)
    device = context.valid.device if context.valid is not None else target_valid.device  # type: ignore[union-attr]
    seen = (
        torch.ones(context.batch, context.length, dtype=torch.bool, device=device)
        if context.valid is None
        else context.valid
    )
    hidden = (
        torch.ones(batch, targets, dtype=torch.bool, device=device)
        if target_valid is None
        else target_valid.flatten(0, 1)
    )
    return Layout(batch, length, torch.cat([seen.repeat_interleave(blocks, dim=0), hidden], dim=1))
