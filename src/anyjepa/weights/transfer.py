"""Copy weights into a network for inputs of another size. Learned positions are resampled; the rest must fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from anyjepa.errors import InputError
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.positions import AdditivePositions
from anyjepa.weights.tensors import check_tensors

INITIAL = {"init", "prefix_std", "std", "mask_init", "layer_scale"}  # used only before training
TRAINING = {"dropout", "attention_dropout", "drop_path", "rescale"}  # have no weights
MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}  # by number of axes


def check_encoders(where: str, source: Encoder, target: Encoder) -> None:
    """Raise InputError, with the reason, if an encoder cannot continue from the weights of another."""
    old, new = source.config, target.config
    if (source.channels, old.patch) != (target.channels, new.patch):
        theirs, ours = (_patches(encoder) for encoder in (source, target))
        raise InputError(
            f"{where}: its tokens are {theirs}, here they are {ours}; the patch projection reads "
            "what it was trained on, so use the same"
        )
    check_settings(f"{where}: objective.encoder", old.model_dump(), new.model_dump())


def check_settings(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise InputError with the first setting that weights depend on and that differs."""
    for key in [key for key in old if key in new and key not in INITIAL | TRAINING]:
        if isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            check_settings(f"{where}.{key}", old[key], new[key])
        elif old[key] != new[key]:
            raise InputError(f"{where}.{key} is {old[key]}, here it is {new[key]}; use the same")


def transfer(where: str, source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of a network into another, whose grid of tokens may differ. Raises InputError."""
    state = source.state_dict()
    grids = {name: part.grid for name, part in target.named_modules() if isinstance(part, AdditivePositions)}
    for name, part in source.named_modules():
        key = f"{name}.learned" if name else "learned"
        if isinstance(part, AdditivePositions) and key in state and name in grids:
            state[key] = resampled(state[key], part.grid, grids[name])
    check_tensors(where, target.state_dict(), state)
    target.load_state_dict(state)


def resampled(table: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Resample a table of positions (prod(old), D) for another grid of tokens, (prod(new), D).

    Both grids cover the whole input: linear in time, bicubic on images (Dosovitskiy et al. 2021), trilinear on videos.
    """
    if tuple(old) == tuple(new):
        return table
    grid = table.T.unflatten(1, tuple(old))[None]  # (1, D, *old)
    return F.interpolate(grid, tuple(new), mode=MODES[len(new)]).flatten(2)[0].T.contiguous()


def _patches(encoder: Encoder) -> str:
    patch = " x ".join(map(str, encoder.config.patch))
    return f"{patch} samples of {encoder.channels} channel{'s' * (encoder.channels > 1)}"
