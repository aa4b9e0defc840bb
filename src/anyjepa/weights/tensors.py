"""Safetensors files: read, written, and compared with what a model needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from anyjepa.data.files import regular_size
from anyjepa.errors import InputError, reason
from anyjepa.limits import COLUMNS

DIGEST = "anyjepa.blake2b"  # the checksum in a file's metadata


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the file's metadata. InputError for a file that is missing, truncated or something else."""
    regular_size(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()
            COLUMNS.check(len(names), f"{path}")
            # A copy, because the file is only mapped: someone may change it while the model is in use.
            return {name: file.get_tensor(name).clone() for name in names}, file.metadata() or {}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'no such file'})") from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: truncated, or not a safetensors file ({reason(error)})") from error


def dump_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, the same for the same tensors and metadata.

    The library orders metadata by chance, so its header (8 bytes of length, then JSON) is written again in order.
    """
    raw = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    end = 8 + int.from_bytes(raw[:8], "little")
    about = {"__metadata__": {"format": "pt", **metadata, DIGEST: _digest(tensors)}}
    header = json.dumps(about | json.loads(raw[8:end]), separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(raw)[end:]])


def check_digest(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Raise InputError if the tensors differ from those that were saved. A file without a checksum passes."""
    if DIGEST in metadata and metadata[DIGEST] != _digest(tensors):
        raise InputError(f"{path}: is damaged, its checksum does not match; get the file again")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Checksum of the names, types, shapes and bytes of tensors."""
    digest = blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(where: str, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """InputError for the first tensor that is missing, unknown, of another shape or type, or not finite."""
    for name in expected:
        if name not in given:
            raise InputError(f"{where}: tensor '{name}' is missing")
    for name in given:
        if name not in expected:
            raise InputError(f"{where}: tensor '{name}' does not belong to this model")
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            raise InputError(
                f"{where}: tensor '{name}' has shape {tuple(given[name].shape)}, {tuple(tensor.shape)} is expected"
            )
        if given[name].dtype != tensor.dtype:
            raise InputError(f"{where}: tensor '{name}' is {given[name].dtype}, {tensor.dtype} is expected")
        if not torch.isfinite(given[name]).all():
            raise InputError(f"{where}: tensor '{name}' holds NaN or infinite values")
