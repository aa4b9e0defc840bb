"""Whether attention chooses: its entropy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anyjepa.nn.attended import attention_weights
from anyjepa.nn.transformer import Attention


def attention_entropy(weights: Tensor) -> float:
    """Entropy of the attention of each query over its keys, as a share of the largest possible; mean over queries.

    weights: (..., L, L), rows sum to 1. A key that is 0 for every query before it (causal attention) is not counted for
    these queries. 0: every query attends to one token; 1: to all alike, so that attention chooses nothing.
    """
    length = weights.shape[-1]
    causal = not weights.triu(1).any()
    keys = torch.arange(1, length + 1, device=weights.device) if causal else torch.full((length,), length)
    entropy = -torch.xlogy(weights, weights).sum(-1)  # (..., L)
    several = keys > 1
    return (entropy[..., several] / keys[several].to(entropy).log()).mean().item() if several.any() else 1.0


def attention_signs(encoder: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """Mean entropy over the blocks of an encoder while `run` calls it on a few inputs; {} without attention."""
    entropies: list[float] = []
    hooks = [
        part.register_forward_pre_hook(
            lambda part, inputs: entropies.append(attention_entropy(attention_weights(part, *inputs)))
        )
        for part in encoder.modules()
        if isinstance(part, Attention)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return {"attention_entropy": sum(entropies) / len(entropies)} if entropies else {}
