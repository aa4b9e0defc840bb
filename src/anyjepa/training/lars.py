"""LARS: gradient descent with momentum and one learning rate per layer (You et al. 2017, arXiv 1708.03888)."""

# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

AVERAGE = "momentum_buffer"  # name of the momentum in checkpoints


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling with clipping (LARC).

    The rate of a layer is `trust` |w| / (|g| + weight_decay |w| + eps), at most the learning rate. Parameter groups
    with `scaled=False` (biases and norms) use plain momentum without weight decay. A step computes
    v = momentum v + update and w = w - lr v.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        trust: float = 0.02,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        scaled: bool = True,
    ):
        rates = {"lr": lr, "momentum": momentum, "trust": trust}
        super().__init__(params, {**rates, "weight_decay": weight_decay, "eps": eps, "scaled": scaled})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            updates = [parameter.grad for parameter in moved]
            if group["scaled"]:
                updates = _scaled(moved, updates, group)
            for parameter in moved:
                if AVERAGE not in self.state[parameter]:
                    self.state[parameter][AVERAGE] = torch.zeros_like(parameter)
            averages = [self.state[parameter][AVERAGE] for parameter in moved]
            torch._foreach_mul_(averages, group["momentum"])
            torch._foreach_add_(averages, updates)
            torch._foreach_add_(moved, averages, alpha=-group["lr"])
        return loss


def _scaled(weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """Update of each layer, in units of the learning rate."""
    w, g = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, gradients))  # (layers,) each
    own = group["trust"] * w / (g + group["weight_decay"] * w + group["eps"])
    # Layers whose weights are all zero use the unscaled gradient; layers with zero gradient do not change.
    rates = torch.where(w > 0, (own / group["lr"]).clamp(max=1) * (g > 0), 1)
    updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
    torch._foreach_mul_(updates, list(rates.unbind()))
    return list(updates)
