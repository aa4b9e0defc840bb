"""Attention weights, computed separately because the fast path never forms them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyjepa.nn.packing import Layout
from anyjepa.nn.positions import rotate
from anyjepa.nn.vit import ViT


@torch.inference_mode()
def attended(encoder: ViT, x: Tensor) -> Tensor:
    """x: (B, C, *samples) -> (B, N): the attention that patches pay to each patch, mean over heads and queries.

    Rows sum to 1, or to less if the encoder also attends to prefix tokens.
    """
    attention: Any = encoder.transformer.blocks[-1].attn  # an `Attention`; nn.Module does not say so
    inputs = []
    hook = attention.register_forward_pre_hook(lambda _, args: inputs.append(args))
    was_training = encoder.training
    try:
        encoder.eval().features(x)
    finally:
        hook.remove()
        encoder.train(was_training)
    (arguments,) = inputs
    prefix = len(encoder.prefix)
    return attention_weights(attention, *arguments).mean(1)[:, prefix:, prefix:].mean(1)


def attention_weights(
    attention: Any,
    values: Tensor,
    layout: Layout,
    angles: Tensor | None = None,
    causal: bool = False,
    _read: Tensor | None = None,
    sees: Tensor | None = None,
) -> Tensor:
    """The weights (B, H, L, L) of an `Attention` called with these arguments. No token may be padding."""
    q, k, _ = attention.qkv(layout.pad(values)).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    if attention.config.qk_norm != "off":
        q, k = attention.q_norm(q), attention.k_norm(k)
    if angles is not None:
        q, k = rotate(q, angles), rotate(k, angles)
    scores = (q @ k.transpose(-1, -2)).float() / q.shape[-1] ** 0.5  # (B, H, L, L)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    if sees is not None:
        scores = scores.masked_fill(~sees[:, None], -torch.inf)
    return scores.softmax(-1)
