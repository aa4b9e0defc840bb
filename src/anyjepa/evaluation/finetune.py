"""Train the whole network on labels: from pretrained weights, or from scratch as a control."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from anyjepa.config import Config, Share
from anyjepa.errors import InputError
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.features import encoded
from anyjepa.evaluation.fitting import FitConfig, as_probabilities, fit_classifier, mean_by_record
from anyjepa.evaluation.probes import Probed
from anyjepa.evaluation.samples import Samples, SelectedSamples, Windows
from anyjepa.evaluation.splits import Split
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head, HeadConfig
from anyjepa.randomness import torch_seed


class Finetune(Config):
    """Encoder and head trained together on random crops of the windows' length."""

    head: HeadConfig = Field(default=HeadConfig(bias=True), description="how the tokens become logits")
    dropout: Share = Field(default=0.05, description="dropout in the encoder's blocks")
    fit: FitConfig = FitConfig(lr=1e-3, final_lr=1e-5, warmup=20, weight_decay=0.01)


class Classifier(nn.Module):
    """Encoder and head."""

    def __init__(self, encoder: Encoder, head: Head):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """x: (B, C, *samples) -> logits (B, classes)."""
        return self.head(*self.encoder.features(x, start))


def finetune(
    encoder: Encoder,
    samples: Samples,
    values: np.ndarray,
    split: Split,
    exclusive: bool,
    windows: Windows,
    config: Finetune,
    from_scratch: bool = False,
) -> Probed:
    """Probabilities (N_test, C): trained on random crops, tested on the mean logits of a record's windows.

    The encoder given stays as it is. from_scratch: take its config only, with new weights by the split's seed.
    """
    classifier = _classifier(encoder, values.shape[1], config, split.seed, from_scratch)
    predict = partial(_predict, classifier, samples, windows, exclusive)
    inputs = partial(random_crops, samples, windows, encoder.config.patch[0])
    chosen = fit_classifier(classifier, inputs, predict, values, split, exclusive, config.fit)
    return Probed(predict(split.test), chosen)


def random_crops(
    samples: Samples, windows: Windows, patch: int, rows: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """One crop of each record, x (B, C, length, ...), and for absolute positions its start (B,) in tokens."""
    signals = [samples[row] for row in rows]
    lengths = np.array([signal.shape[1] for signal in signals])
    length = windows.length or int(lengths[0]) // patch * patch
    if windows.length is None and (lengths != lengths[0]).any():
        raise InputError(f"records have {lengths.min()} to {lengths.max()} samples: fine-tuning needs a window length")
    if (lengths < length).any():
        row = rows[int(np.argmin(lengths))]
        raise InputError(f"record '{samples.ids[row]}' has {lengths.min()} samples; the encoder needs {length}")
    starts = rng.integers(lengths - length + 1)
    x = torch.as_tensor(np.stack([s[:, i : i + length] for s, i in zip(signals, starts, strict=True)]))
    return (x, torch.as_tensor(starts, dtype=torch.float32) / patch) if windows.absolute else (x,)


def _classifier(encoder: Encoder, classes: int, config: Finetune, seed: int, from_scratch: bool) -> Classifier:
    network = random_encoder(encoder, seed, config.dropout)
    if not from_scratch:
        network.load_state_dict(encoder.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, 1))
        head = Head(config.head, encoder.dim, encoder.config.heads, classes)
    return Classifier(network, head.to(next(network.parameters()).device))


@torch.inference_mode()
def _predict(
    classifier: Classifier, samples: Samples, windows: Windows, exclusive: bool, rows: np.ndarray
) -> np.ndarray:
    """Probabilities (n, C) of records `rows`."""
    logits, record = [], []
    for places, prefix, patches in encoded(classifier.encoder, SelectedSamples(samples, rows), windows):
        logits.append(classifier.head(prefix, patches))
        record.append(places)
    return as_probabilities(mean_by_record(torch.cat(logits), np.concatenate(record), len(rows)), exclusive)
