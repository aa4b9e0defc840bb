"""Which parameters weight decay pulls at."""

from __future__ import annotations

from typing import Literal

from torch import nn

DecayRule = Literal["matrices", "not_1d", "all"]


def decay_groups(module: nn.Module, rule: DecayRule) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Trainable parameters by name: decayed, and not.

    matrices: weights of Linear layers and convolutions only (ECG-JEPA); not_1d: all but biases and other
    one-dimensional parameters (I-JEPA, V-JEPA, NEPA), so mask tokens, registers and learned positions decay too; all:
    as AdamW by itself.
    """
    matrices = (nn.Linear, nn.Conv1d, nn.Conv2d)
    linear = {f"{name}.weight".lstrip(".") for name, part in module.named_modules() if isinstance(part, matrices)}
    decayed: dict[str, nn.Parameter] = {}
    rest: dict[str, nn.Parameter] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            pulled = rule == "all" or (name in linear if rule == "matrices" else parameter.ndim > 1)
            (decayed if pulled else rest)[name] = parameter
    return decayed, rest
