"""Cache features on disk, by a digest of everything that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import nn

from anyjepa.data.array_files import read_arrays
from anyjepa.errors import InputError
from anyjepa.evaluation.windows import Windows
from anyjepa.training.config import Precision
from anyjepa.writing import replacing


class FeatureCache:
    """Arrays on disk by key, the latest also in memory. Files that cannot be read are computed again.

    folder: None keeps only the latest arrays, in memory.
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = None if folder is None else Path(folder)
        self.latest: tuple[str, dict[str, np.ndarray]] = ("", {})

    def find(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays under `key`, from memory or disk."""
        if self.latest[0] != key:
            if (kept := self._read(key)) is None:
                return None
            self.latest = (key, kept)
        return self.latest[1]

    def keep(self, key: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Keep arrays under `key`, and return them."""
        self.latest = (key, arrays)
        if self.folder is not None:
            with replacing(self.folder / f"{key}.npz") as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        return arrays

    def _read(self, key: str) -> dict[str, np.ndarray] | None:
        if self.folder is None:
            return None
        try:
            return read_arrays(self.folder / f"{key}.npz", row_bytes=0)
        except InputError:
            return None


def cache_key(kind: str, encoder: nn.Module, hashes: Sequence[str], windows: Windows, precision: Precision) -> str:
    """Digest of the kind and precision of features, the encoder's config and weights, the ordered signals, windows."""
    digest = blake2b(digest_size=16)
    settings = windows.model_dump_json(exclude={"batch"})
    for text in (kind, precision, repr(getattr(encoder, "config", "")), settings, *hashes):
        digest.update(text.encode() + b"\0")
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{kind}-{digest.hexdigest()}"
