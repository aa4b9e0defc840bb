"""The attentive probe: one learned query attends to the frozen tokens (ECG-JEPA's paper calls this linear evaluation).

In V-JEPA, it attends to the tokens of several clips of a video at once.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anyjepa.config import Config
from anyjepa.evaluation.classifier import as_probabilities, record_means
from anyjepa.evaluation.features import Tokens
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.probes import Probed
from anyjepa.evaluation.splits import Split
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import HeadConfig, Standardise, TokenHead
from anyjepa.randomness import torch_seed


class AttentiveProbe(Config):
    """An attentive head on a frozen encoder."""

    crops: Literal["windows", "random"] = Field(
        default="windows",
        description="training inputs; windows: encoded once, with standardised tokens; random: random crops of the "
        "same length, encoded at each step, with tokens as they are (ECG-JEPA)",
    )
    head: Literal["attentive", "attentive-block"] = Field(
        default="attentive",
        description="attentive: project the attended tokens to the classes (ECG-JEPA); attentive-block: apply "
        "LayerNorms and an MLP first, to tokens without standardisation (V-JEPA)",
    )
    joint: bool = Field(
        default=False,
        description="true: the query attends to all windows of a record at once, without their order (V-JEPA); false: "
        "to one window at a time, and logits are averaged",
    )
    fit: FitConfig = FitConfig(lr=1e-3, final_lr=1e-3, weight_decay=0.1, betas=(0.9, 0.999), clip=1.0)

    @property
    def settings(self) -> HeadConfig:
        block = self.head == "attentive-block"
        return HeadConfig(kind=self.head, bias=block, standardise=self.crops == "windows" and not block)

    @model_validator(mode="after")
    def _windows_are_read_jointly(self) -> Self:
        if self.joint and self.crops == "random":
            raise ValueError("joint=true reads all windows of a record at once, not a random crop; set crops=windows")
        return self


def attentive_probe(
    encoder: Encoder, tokens: Tokens, values: np.ndarray, split: Split, exclusive: bool, config: AttentiveProbe
) -> Probed:
    """Train an attentive head, and return its probabilities (N_test, C).

    The head is trained on one random window per record and tested on the mean logits over the windows of a record. If
    `joint`, it is trained and tested on all windows of a record at once.
    encoder: the source of the tokens, for its number of heads and its device. values: labels (N, C).
    """
    from anyjepa.evaluation.fitting import fit_classifier  # imports Lightning, which takes seconds

    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(split.seed))
        head = TokenHead(config.settings, encoder.dim, encoder.config.heads, values.shape[1])
    read = _Reader(tokens)
    if config.settings.standardise:
        windows = read.windows(split.train)[0]
        _set_moments(head.prefix, tokens.prefix[windows])
        _set_moments(head.patches, tokens.patches[windows])
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
        self.count = np.bincount(tokens.record)  # (N,) windows per record
        self.first = np.cumsum(self.count) - self.count  # (N,) indices into order

    def windows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of all windows of the records `rows`, (W,), and the index in `rows` of the record of each, (W,)."""
        windows = [self.order[self.first[row] : self.first[row] + self.count[row]] for row in rows]
        return np.concatenate(windows), np.repeat(np.arange(len(rows)), self.count[rows])

    def random(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One random window per record: prefix (B, R, D) and patch tokens (B, N, D)."""
        return self.read(self.order[self.first[rows] + rng.integers(self.count[rows])])

    def joint(self, rows: np.ndarray, _: object = None) -> tuple[Tensor, Tensor, Tensor]:
        """All windows per record: prefix (B, K, R, D), patch tokens (B, K, N, D), and which of them exist, (B, K)."""
        number = np.arange(self.count[rows].max())
        there = number < self.count[rows, None]  # (B, K)
        return *self.read(self.order[self.first[rows, None] + number * there]), torch.as_tensor(there)

    def read(self, windows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Prefix (..., R, D) and patch tokens (..., N, D) of windows (...)."""
        prefix, patches = self.tokens.prefix[windows], self.tokens.patches[windows]
        return torch.as_tensor(prefix).float(), torch.as_tensor(patches).float()


def _set_moments(standardise: Standardise, part: np.ndarray) -> None:
    """Set the mean and standard deviation (D,) from tokens (W, n, D), if there are any."""
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
def _predict(head: TokenHead, read: _Reader, exclusive: bool, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of records `rows`."""
    windows, record = read.windows(rows)
    device = next(head.parameters()).device
    logits = [
        head(*(part.to(device) for part in read.read(batch))).float().cpu().numpy()
        for batch in np.array_split(windows, len(windows) // 256 + 1)
        if len(batch)
    ]
    return as_probabilities(record_means(np.concatenate(logits), record, len(rows)), exclusive)


@torch.inference_mode()
def _predict_joint(head: TokenHead, read: _Reader, exclusive: bool, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of records `rows`, from all windows of a record at once."""
    device, windows = next(head.parameters()).device, read.count[rows].sum()
    logits = [
        head(*(part.to(device) for part in read.joint(batch))).float().cpu().numpy()
        for batch in np.array_split(rows, windows // 256 + 1)
        if len(batch)
    ]
    return as_probabilities(np.concatenate(logits), exclusive)
