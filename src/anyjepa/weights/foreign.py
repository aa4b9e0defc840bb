"""Checkpoints of other programs, opened without running anything that they carry."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from anyjepa.data.files import regular_size
from anyjepa.errors import InputError
from anyjepa.weights.checkpoint_cost import check_archive, check_loaded


def read_foreign(path: Path | str) -> dict[str, object]:
    """A PyTorch checkpoint as plain values and CPU tensors.

    InputError if the file is missing or no checkpoint, or if its pickle asks for anything but tensors and plain values:
    such a file could run any program, and nothing of it is executed.
    """
    path = Path(path)
    size = regular_size(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            check_archive(path, size)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        check_loaded(checkpoint, path, size)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); is it truncated?") from error
    except Exception as error:  # an unpickler on arbitrary bytes raises anything
        if asked := re.search(r"GLOBAL ['\"]?([\w.]+)", str(error)):
            raise InputError(
                f"{path}: refused, its pickle asks to run '{asked[1]}'; only tensors and plain values are read"
            ) from error
        raise InputError(f"{path}: is no PyTorch checkpoint of tensors and plain values") from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path}: holds a {type(checkpoint).__name__}; a dictionary is expected")
    return checkpoint


def renamed(where: str, tensors: object, names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Tensors of a foreign dictionary under other names: each (pattern, replacement) in turn.

    InputError for anything in it that is no named tensor of numbers, and for two tensors of one new name.
    """
    ours = {}
    for name, tensor in tensors.items() if isinstance(tensors, dict) else [("", tensors)]:
        if not isinstance(name, str):
            raise InputError(f"{where}: {name!r} is no name of a tensor")
        if not isinstance(tensor, Tensor):
            raise InputError(f"{where}: '{name}' is a {type(tensor).__name__}; a tensor is expected")
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise InputError(f"{where}: tensor '{name}' is sparse, quantised or without values; plain ones are read")
        new = name
        for pattern, replacement in names:
            new = re.sub(pattern, replacement, new)
        if new in ours:
            raise InputError(f"{where}: tensor '{name}' occurs twice, with different prefixes")
        ours[new] = tensor
    return ours
