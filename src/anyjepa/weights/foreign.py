"""Read checkpoints of other programs without running any code that they contain."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from anyjepa.data.files import regular_size
from anyjepa.errors import InputError
from anyjepa.limits import check_size, unshared_size
from anyjepa.weights.folder import save_model
from anyjepa.weights.model import ModelConfig

OBJECTS = 64  # most bytes of memory per byte of a pickle; an empty dictionary takes one byte in it
QKV = ("query", "key", "value")
LEGACY = 5  # pickles at the start of a file from before PyTorch 1.6


@dataclass(frozen=True)
class Converted:
    """A converted model, as arguments of `save_model`."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    preprocessing: Mapping[str, object]
    student: dict[str, Tensor] | None = None

    def save(self, folder: Path | str) -> Path:
        """Write a model folder."""
        return save_model(folder, self.config, self.tensors, self.preprocessing, self.student)


def read_foreign(path: Path | str) -> dict[str, object]:
    """Read a PyTorch checkpoint of plain values and tensors, on the CPU.

    Raises InputError if the file is missing or is not a checkpoint, or if its pickle needs anything but tensors and
    plain values. Such a file could run any program, so nothing in it is executed.
    """
    path = Path(path)
    size = regular_size(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            _check_archive(path, size)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        _check_loaded(checkpoint, path, size)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); is it truncated?") from error
    except Exception as error:  # unpickling arbitrary bytes can raise any error
        if call := re.search(r"GLOBAL ['\"]?([\w.]+)", str(error)):
            raise InputError(
                f"{path}: refused, its pickle asks to run '{call[1]}'; only tensors and plain values are read"
            ) from error
        raise InputError(f"{path}: is not a PyTorch checkpoint of tensors and plain values") from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path}: contains a {type(checkpoint).__name__}; it must contain a dictionary")
    return checkpoint


def renamed(where: str, tensors: object, names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Rename the tensors of a dictionary with (pattern, replacement) pairs, one after the other.

    Raises InputError if a value is not a dense tensor of floating-point numbers, and if two tensors get the same name.
    """
    ours = {}
    for name, tensor in tensors.items() if isinstance(tensors, dict) else [("", tensors)]:
        if not isinstance(name, str):
            raise InputError(f"{where}: {name!r} is not the name of a tensor")
        if not isinstance(tensor, Tensor):
            raise InputError(f"{where}: '{name}' is a {type(tensor).__name__}; it must be a tensor")
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise InputError(f"{where}: tensor '{name}' is sparse, quantised or without values; it must be dense")
        if not tensor.is_floating_point():
            raise InputError(f"{where}: tensor '{name}' is {tensor.dtype}; weights are floating-point numbers")
        new = name
        for pattern, replacement in names:
            new = re.sub(pattern, replacement, new)
        if new in ours:
            raise InputError(f"{where}: tensor '{name}' occurs twice, with different prefixes")
        ours[new] = tensor
    return ours


def joined(where: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join tensors whose names end in query, key and value to one tensor qkv. Raises InputError if one is missing."""
    ours, groups = {}, {}
    for name, tensor in tensors.items():
        layer, _, rest = name.rpartition(".")
        layer, _, part = layer.rpartition(".")
        if part in QKV:
            groups[f"{layer}.qkv.{rest}"] = [f"{layer}.{other}.{rest}" for other in QKV]
        else:
            ours[name] = tensor
    for name, parts in groups.items():
        if missing := [part for part in parts if part not in tensors]:
            raise InputError(f"{where}: tensor '{missing[0]}' is missing")
        try:
            ours[name] = torch.cat([tensors[part] for part in parts])
        except RuntimeError as error:
            raise InputError(f"{where}: the parts of tensor '{name}' cannot be concatenated ({error})") from None
    return ours


def _check_archive(path: Path, size: int) -> None:
    """Raise InputError if the parts of a checkpoint of `size` bytes, or its pickle, need too much memory.

    Other errors mean that it is not a checkpoint.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            try:
                for _ in range(LEGACY):
                    _check_pickle(file, path, size)
            except InputError:
                raise
            except ValueError:  # PyTorch stops at the same place
                pass
            return
    with zipfile.ZipFile(path) as archive:
        pickles = [part for part in archive.infolist() if part.filename.endswith(".pkl")]
        needed = sum(part.file_size for part in archive.infolist())
        check_size(needed + OBJECTS * sum(part.file_size for part in pickles), size, f"{path}: its content")
        for part in pickles:
            with archive.open(part) as file:
                _check_pickle(file, path, size)


def _check_loaded(checkpoint: object, path: Path, size: int) -> None:
    """Raise InputError if a checkpoint needs too much memory after copying each value separately.

    The same value can occur many times, and a tensor can repeat one number, so copies of them could fill the memory.
    """
    check_size(unshared_size(checkpoint, _parts, _bytes), size, f"{path}: its content")


def _check_pickle(file: IO[bytes], path: Path, size: int) -> None:
    """Raise InputError for calls that PyTorch allows: `bytearray` allocates any size, and `encode` copies."""
    longest = calls = 0
    encodes = False
    names: list[str] = []
    for code, value, _ in pickletools.genops(file):
        if isinstance(value, (str, bytes)):
            names = [*names[-1:], str(value)]
            longest = max(longest, len(value))
        if code.name in ("GLOBAL", "STACK_GLOBAL"):
            name = " ".join(names) if code.name == "STACK_GLOBAL" else str(value)
            if name.endswith(" bytearray"):
                raise InputError(f"{path}: its pickle creates a bytearray, which is refused")
            encodes |= name.endswith(" encode")
        calls += code.name == "REDUCE"
    if encodes:
        check_size(longest * calls, size, f"{path}: its pickle")


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple, set, frozenset)) else ()


def _bytes(value: object) -> int:
    return 1 + (value.numel() * value.element_size() if isinstance(value, Tensor) and not value.is_sparse else 0)
