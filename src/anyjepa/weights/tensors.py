"""Read, write and check safetensors files."""

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

DIGEST = "anyjepa.blake2b"  # key of the checksum in the metadata of a file
HALF = "anyjepa.half"  # key in the metadata of a file whose float32 tensors are saved as float16


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors by name and the metadata of a file. Raises InputError if it is missing, truncated or not valid."""
    regular_size(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()
            COLUMNS.check(len(names), f"{path}")
            # Copy, because the file is memory-mapped and could change while the model is in use.
            return {name: file.get_tensor(name).clone() for name in names}, file.metadata() or {}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'no such file'})") from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is truncated or not a safetensors file ({reason(error)})") from error


def widened(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """Convert the tensors of a file that was saved in half precision (`HALF`) to single precision."""
    if HALF not in metadata:
        return dict(tensors)
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}


def single_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors of published weights to single precision."""
    return {name: tensor.float() for name, tensor in tensors.items()}


def dump_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, which depend only on the tensors and the metadata.

    The order of metadata is random in the library, so its header (8 bytes of length, then JSON) is sorted here.
    """
    raw = save(_unshared({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
    end = 8 + int.from_bytes(raw[:8], "little")
    about = {"__metadata__": {"format": "pt", **metadata, DIGEST: _digest(tensors)}}
    header = json.dumps(about | json.loads(raw[8:end]), separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of 8 bytes
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(raw)[end:]])


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, as two networks of a checkpoint can, because the library refuses them."""
    storages: set[int] = set()
    ours = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        ours[name] = tensor.clone() if place in storages else tensor
        storages.add(place)
    return ours


def check_digest(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Raise InputError if the tensors differ from those that were saved. Files without a checksum are not checked."""
    if DIGEST in metadata and metadata[DIGEST] != _digest(tensors):
        raise InputError(f"{path}: is damaged: its checksum does not match; download or copy the file again")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Checksum of the names, types, shapes and bytes of tensors."""
    digest = blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(where: str, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for the first tensor that is missing, unexpected, not finite, or of another shape or type."""
    for name in expected:
        if name not in tensors:
            raise InputError(f"{where}: tensor '{name}' is missing")
    for name in tensors:
        if name not in expected:
            raise InputError(f"{where}: tensor '{name}' does not belong to this model")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise InputError(
                f"{where}: tensor '{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
            )
        if tensors[name].dtype != tensor.dtype:
            raise InputError(f"{where}: tensor '{name}' is {tensors[name].dtype}, expected {tensor.dtype}")
        if not torch.isfinite(tensors[name]).all():
            raise InputError(f"{where}: tensor '{name}' contains NaN or infinite values")
