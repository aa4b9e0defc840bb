"""Activation checkpointing (Chen et al. 2016): a training step takes less memory and more time."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils.checkpoint import checkpoint

from anyjepa.errors import InputError
from anyjepa.nn.conditional import CrossAttention
from anyjepa.nn.transformer import Block


def checkpoint_activations(model: nn.Module) -> None:
    """Let every transformer block keep only its inputs, and compute its activations again in the backward pass.

    The second computation draws the same random numbers. Raises InputError if there is no block, or if one contains a
    BatchNorm, whose statistics would see every batch twice.
    """
    blocks = [part for part in model.modules() if isinstance(part, Block | CrossAttention)]
    if not blocks:
        raise InputError("training.checkpoint_activations: there are no transformer blocks; set it to false")
    if any(isinstance(part, BatchNorm) for block in blocks for part in block.modules()):
        raise InputError(
            "training.checkpoint_activations: blocks with BatchNorm would see every batch twice; set it to false"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
