"""The attentive probe: one learned query reads the frozen tokens (what ECG-JEPA's paper calls linear evaluation).

V-JEPA's reads those of several clips of a video at once.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anyjepa.config import Config
from anyjepa.evaluation.classifier import WindowLogits, as_probabilities
from anyjepa.evaluation.features import Tokens
from anyjepa.evaluation.fitting import FitConfig, fit_classifier
from anyjepa.evaluation.probes import Probed
from anyjepa.evaluation.splits import Split
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head, HeadConfig, Standardise
from anyjepa.randomness import torch_seed


class AttentiveProbe(Config):
    """An attentive head on a frozen encoder."""

    crops: Literal["windows", "random"] = Field(
        default="windows",
        description="what it trains on: the windows of the records, encoded once, their tokens standardised; or random "
        "crops of that length, encoded in each step, tokens as they are (ECG-JEPA)",
    )
    head: Literal["attentive", "attentive-block"] = Field(
        default="attentive",
        description="what it attends to is projected to the classes (ECG-JEPA), or goes through an MLP first (V-JEPA); "
        "the block has LayerNorms, and takes tokens as they are",
    )
    joint: bool = Field(
        default=False,
        description="the query attends to all windows of a record at once, without their order (V-JEPA); else to one "
        "window at a time, and their logits are averaged",
    )
    fit: FitConfig = FitConfig(lr=1e-3, final_lr=1e-3, weight_decay=0.1, betas=(0.9, 0.999), clip=1.0)

    @property
    def settings(self) -> HeadConfig:
        block = self.head == "attentive-block"
        return HeadConfig(kind=self.head, bias=block, standardise=self.crops == "windows" and not block)

    @model_validator(mode="after")
    def _windows_are_read_jointly(self) -> Self:
        if self.joint and self.crops == "random":
            raise ValueError("joint: all windows of a record are read at once, not a random crop; set crops=windows")
        return self


def attentive_probe(
    encoder: Encoder, tokens: Tokens, values: np.ndarray, split: Split, exclusive: bool, config: AttentiveProbe
) -> Probed:
    """Probabilities (N_test, C): trained on a random window a record, tested on the mean logits of a record's windows.

    If `joint`, trained and tested on all windows of a record at once.
    encoder: whose tokens they are, for its heads and its device; values: labels (N, C).
    """
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(split.seed))
        head = Head(config.settings, encoder.dim, encoder.config.heads, values.shape[1])
    read = _Reader(tokens)
    if config.settings.standardise:
        known = read.windows(split.train)[0]
        _set_moments(head.prefix, tokens.prefix[known])
        _set_moments(head.patches, tokens.patches[known])
    head = head.to(next(encoder.parameters()).device)
    predict = partial(_predict_joint if config.joint else _predict, head, read, exclusive)
    inputs = read.joint if config.joint else read.random
    chosen = fit_classifier(head, inputs, predict, values, split, exclusive, config.fit)
    return Probed(predict(split.test), predict(split.validation), chosen, head)


class _Reader:
    """Windows as float32 tokens."""

    def __init__(self, tokens: Tokens):
        order = np.argsort(tokens.record, kind="stable")
        self.tokens, self.order = tokens, order
        self.count = np.bincount(tokens.record)  # (N,) windows a record
        self.first = np.cumsum(self.count) - self.count  # (N,) into order

    def windows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All windows of records `rows`, (W,), and the place in `rows` that each belongs to, (W,)."""
        windows = [self.order[self.first[row] : self.first[row] + self.count[row]] for row in rows]
        return np.concatenate(windows), np.repeat(np.arange(len(rows)), self.count[rows])

    def random(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One window of each record: prefix (B, R, D) and patch tokens (B, N, D)."""
        return self.read(self.order[self.first[rows] + rng.integers(self.count[rows])])

    def joint(self, rows: np.ndarray, _: object = None) -> tuple[Tensor, Tensor, Tensor]:
        """All windows of each record: prefix (B, K, R, D), patch tokens (B, K, N, D), and which are there, (B, K)."""
        number = np.arange(self.count[rows].max())
        there = number < self.count[rows, None]  # (B, K)
        return *self.read(self.order[self.first[rows, None] + number * there]), torch.as_tensor(there)

    def read(self, windows: np.ndarray) -> tuple[Tensor, Tensor]:
        """windows: (...) -> prefix (..., R, D) and patch tokens (..., N, D)."""
        prefix, patches = self.tokens.prefix[windows], self.tokens.patches[windows]
        return torch.as_tensor(prefix).float(), torch.as_tensor(patches).float()


def _set_moments(standardise: Standardise, part: np.ndarray) -> None:
    """Mean and standard deviation (D,) of tokens (W, n, D), if there are any."""
    if part.shape[1] == 0:
        return
    mean = part.mean((0, 1), dtype=np.float64)
    square = np.zeros_like(mean)
    for window in part:
        square += ((window - mean) ** 2).sum(0)
    std = np.sqrt(square / (part.shape[0] * part.shape[1])).clip(1e-4)
    standardise.mean.copy_(torch.as_tensor(mean))
    standardise.std.copy_(torch.as_tensor(std))


@torch.inference_mode()
def _predict(head: Head, read: _Reader, exclusive: bool, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of records `rows`."""
    windows, record = read.windows(rows)
    device = next(head.parameters()).device
    logits = [
        head(*(part.to(device) for part in read.read(batch))).float().cpu().numpy()
        for batch in np.array_split(windows, len(windows) // 256 + 1)
        if len(batch)
    ]
    return as_probabilities(WindowLogits(np.concatenate(logits), record, windows).mean(len(rows)), exclusive)


@torch.inference_mode()
def _predict_joint(head: Head, read: _Reader, exclusive: bool, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of records `rows`, all windows of a record at once."""
    device, windows = next(head.parameters()).device, read.count[rows].sum()
    logits = [
        head(*(part.to(device) for part in read.joint(batch))).float().cpu().numpy()
        for batch in np.array_split(rows, windows // 256 + 1)
        if len(batch)
    ]
    return as_probabilities(np.concatenate(logits), exclusive)
