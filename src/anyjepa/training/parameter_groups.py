"""Parameter groups with and without weight decay."""

from __future__ import annotations

from typing import Literal

from torch import nn

DecayRule = Literal["matrices", "not_1d", "all"]


def decay_groups(module: nn.Module, rule: DecayRule) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Split the trainable parameters, by name, into those with and those without weight decay.

    matrices: only weights of Linear layers and convolutions have weight decay (ECG-JEPA).
    not_1d: all but biases and other one-dimensional parameters (I-JEPA, V-JEPA, NEPA), which includes mask tokens,
    registers and learned positions.
    all: all parameters, as in PyTorch's AdamW.
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
