"""Stored numbers of a reference, and the rule by which ours match (the READMEs of tests/golden)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class Vectors:
    """vectors.npz and config.json of one folder."""

    def __init__(self, folder: Path):
        self.vectors = dict(np.load(folder / "vectors.npz"))
        self.settings = json.loads((folder / "config.json").read_text())

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.vectors[key])

    def match(self, key: str, ours: Tensor | float) -> None:
        """max|A - R| <= 1e-5 max|R|; for scalars the same is the relative error."""
        ours, reference = np.asarray(torch.as_tensor(ours).detach().double()), self.vectors[key]
        assert ours.size == reference.size, key
        error, scale = np.abs(ours.reshape(reference.shape) - reference).max(), np.abs(reference).max()
        assert error <= 1e-5 * scale, f"{key}: {error / scale:.2g}"

    def match_fresh(self, key: str, ours: Tensor, lr: float) -> None:
        """After a first AdamW step, nearly lr x sign(gradient): 99 % within the rule, all within 2 lr more."""
        reference = self.vectors[key]
        error = np.abs(ours.detach().numpy().reshape(reference.shape) - reference)
        tolerance = 1e-5 * np.abs(reference).max()
        assert (error <= tolerance).mean() >= 0.99, key
        assert error.max() <= tolerance + 2 * lr, key


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
