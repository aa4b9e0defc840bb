"""Estimate the memory that a recipe needs from its settings alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from anyjepa.limits import BATCH
from anyjepa.nn.tokens import check_table
from anyjepa.training.config import TrainingConfig


def check_cost(encoder: Any, channels: int, size: Sequence[int], grid: Sequence[int], training: TrainingConfig) -> None:
    """Raise InputError if a micro-batch of inputs (channels, *size), its tokens, or a position table is too large.

    encoder: config of the encoder. grid: tokens along each axis.
    """
    check_table(prod(grid), encoder.dim, "objective.encoder")
    samples = training.batch_size // training.accumulation
    tokens = prod(grid) + getattr(encoder, "registers", 0)
    BATCH.check(4 * samples * channels * prod(size), f"training.batch_size: a batch of {samples} inputs of {size}")
    BATCH.check(
        4 * samples * tokens * encoder.dim,
        f"training.batch_size: a batch of {samples} x {tokens} tokens of width {encoder.dim}",
    )
