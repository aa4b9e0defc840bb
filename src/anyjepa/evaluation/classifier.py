"""Classify records with an encoder and a head: logits of every window, combined per record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.evaluation.features import encoded
from anyjepa.evaluation.finite import check_finite
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head


class Classifier(nn.Module):
    """Encoder and head. A frozen encoder has no gradient and no dropout."""

    def __init__(self, encoder: Encoder, head: Head, frozen: bool = False):
        super().__init__()
        self.encoder, self.head, self.frozen = encoder, head, frozen
        if frozen:
            encoder.requires_grad_(False)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """x: (B, C, *samples) -> logits (B, classes)."""
        return self.head(*self.encoder.features(x, start))

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self


@dataclass(frozen=True)
class WindowLogits:
    """Logits of all windows of N records, in the order of the records."""

    logits: np.ndarray  # (W, C) float32
    record: np.ndarray  # (W,) index of the record of each window
    start: np.ndarray  # (W,) first sample of the window in the record
    vectors: np.ndarray  # (W, D) float32, mean of the patch tokens

    def mean(self, records: int) -> np.ndarray:
        """Mean over the windows of each record, (records, C)."""
        return record_means(self.logits, self.record, records)

    def embeddings(self, records: int) -> np.ndarray:
        """Mean vector over the windows of each record, (records, D)."""
        return record_means(self.vectors, self.record, records)

    def strongest(self, records: int) -> np.ndarray:
        """First sample of the window with the highest logit per class, (records, C)."""
        ends = np.cumsum(np.bincount(self.record, minlength=records))[:-1]
        parts = zip(np.split(self.logits, ends), np.split(self.start, ends), strict=True)
        return np.stack([start[logits.argmax(0)] for logits, start in parts])


def record_means(values: np.ndarray, record: np.ndarray, records: int) -> np.ndarray:
    """Mean (records, C) of values of windows (W, C). record: index of the record of each window, (W,)."""
    total = np.zeros((records, values.shape[1]))
    np.add.at(total, record, values)
    return (total / np.bincount(record, minlength=records)[:, None]).astype(np.float32)


@torch.inference_mode()
def window_logits(encoder: Encoder, head: Head, samples: Samples, windows: Windows) -> WindowLogits:
    """Logits of each window. The encoder is put into evaluation mode; the head must already be in it."""
    batches = []
    for places, starts, prefix, patches in encoded(encoder, samples, windows):
        logits = head(prefix, patches).float()
        check_finite(logits, [samples.ids[place] for place in places], head)
        vectors = patches.double().mean(1).float()
        batches.append((logits.cpu().numpy(), places, starts, vectors.cpu().numpy()))
    logits, record, start, vectors = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    order = np.argsort(record, kind="stable")
    return WindowLogits(logits[order], record[order], start[order], vectors[order])


@torch.inference_mode()
def record_logits(encoder: Encoder, head: Head, samples: Samples, windows: Windows) -> WindowLogits:
    """Logits of an attentive head for all windows of a record at once, as one window that starts with the record."""
    logits, vectors = [], []
    for place in range(len(samples)):
        batches = encoded(encoder, SelectedSamples(samples, [place]), windows)
        prefix, patches = (torch.cat(parts) for parts in zip(*((p, t) for _, _, p, t in batches), strict=True))
        whole = head(prefix[None], patches[None]).float()
        check_finite(whole, [samples.ids[place]], head)
        logits.append(whole.cpu().numpy())
        vectors.append(patches.double().mean((0, 1)).float().cpu().numpy())
    return WindowLogits(np.concatenate(logits), np.arange(len(samples)), np.zeros(len(samples), int), np.stack(vectors))


def as_probabilities(logits: np.ndarray, exclusive: bool) -> np.ndarray:
    """Convert logits (N, C) to probabilities (N, C) float32."""
    tensor = torch.as_tensor(logits)
    return (tensor.softmax(-1) if exclusive else tensor.sigmoid()).float().numpy()
