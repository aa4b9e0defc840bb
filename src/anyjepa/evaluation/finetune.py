"""Train the whole network on labels, or only a head on random crops with a frozen encoder."""

from __future__ import annotations

import copy
from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anyjepa.config import Config, Share
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import InputError
from anyjepa.evaluation.classifier import Classifier, as_probabilities, window_logits
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.probes import Probed
from anyjepa.evaluation.splits import Split
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.pooling import AnyHead, ClassifierHead, Head, HeadConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.randomness import torch_seed


class Finetune(Config):
    """Train encoder and head together on random crops of the length of the windows."""

    head: AnyHead = Field(default=HeadConfig(bias=True), description="head that converts tokens to logits")
    after: Literal["attentive"] | None = Field(
        default=None, description="attentive: initialise the head with a trained attentive probe"
    )
    attention: Literal["bidirectional", "causal", "pretrained"] = Field(
        default="bidirectional",
        description="whether tokens attend to later tokens (NEPA is pretrained causal and fine-tuned bidirectional); "
        "pretrained: as in pretraining",
    )
    dropout: Share = Field(default=0.05, description="dropout in the encoder's blocks")
    drop_path: Share = Field(
        default=0.0, lt=1, description="probability of skipping a branch in the last block of the encoder"
    )
    fit: FitConfig = FitConfig(lr=1e-3, final_lr=1e-5, warmup=20, weight_decay=0.01)

    def encoder(self, pretrained: AnyEncoder) -> AnyEncoder:
        """Config for fine-tuning an encoder with the config `pretrained`, which changes only for the kind vit."""
        if not isinstance(pretrained, ViTConfig):
            return pretrained
        causal = {"bidirectional": False, "causal": True, "pretrained": pretrained.causal}[self.attention]
        block = pretrained.block.model_copy(update={"dropout": self.dropout, "drop_path": self.drop_path})
        return pretrained.model_copy(update={"causal": causal, "block": block})

    @model_validator(mode="after")
    def _same_head(self) -> Self:
        if self.after == "attentive" and not self.head.joint:
            raise ValueError(f"after=attentive needs head.kind=attentive, got '{self.head.kind}'")
        return self


def finetune(
    encoder: Encoder,
    samples: Samples,
    values: np.ndarray,
    split: Split,
    exclusive: bool,
    windows: Windows,
    config: Finetune,
    *,
    head: Head | None = None,
    frozen: bool = False,
) -> Probed:
    """Train on random crops, and return probabilities (N_test, C) from the mean logits of the windows of a record.

    A copy of the encoder is trained. head: initial head; None: a new one. frozen: train only the head.
    """
    from anyjepa.evaluation.fitting import fit_classifier  # imports Lightning, which takes seconds

    network = random_encoder(encoder, split.seed, config.encoder(encoder.config))
    network.load_state_dict(encoder.state_dict())
    head = copy.deepcopy(head) or _new_head(config.head, encoder, values.shape[1], split.seed)
    classifier = Classifier(network, head.to(next(network.parameters()).device), frozen)
    predict = partial(_predict, classifier, samples, windows, exclusive)
    inputs = partial(random_crops, samples, windows, encoder.config.patch[0])
    chosen = fit_classifier(classifier, inputs, predict, values, split, exclusive, config.fit)
    scores, validation = predict(split.test), predict(split.validation)
    return Probed(scores, validation, chosen, classifier.head, None if frozen else classifier.encoder)


def random_crops(
    samples: Samples, windows: Windows, patch: int, rows: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """One crop per record, x (B, C, length, ...), and for absolute positions also its start (B,) in tokens."""
    signals = [samples[row] for row in rows]
    lengths = np.array([signal.shape[1] for signal in signals])
    length = windows.length or int(lengths[0]) // patch * patch
    if windows.length is None and (lengths != lengths[0]).any():
        raise InputError(
            f"records have {lengths.min()} to {lengths.max()} samples; set a window length for fine-tuning"
        )
    if (lengths < length).any():
        row = rows[int(np.argmin(lengths))]
        raise InputError(f"record '{samples.ids[row]}' has {lengths.min()} samples; the encoder needs {length}")
    starts = rng.integers(lengths - length + 1)
    x = torch.as_tensor(np.stack([s[:, i : i + length] for s, i in zip(signals, starts, strict=True)]))
    return (x, torch.as_tensor(starts, dtype=torch.float32) / patch) if windows.absolute else (x,)


def _new_head(config: ClassifierHead, encoder: Encoder, classes: int, seed: int) -> Head:
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, 1))
        return config.build(encoder.dim, encoder.config.heads, classes)


def _predict(
    classifier: Classifier, samples: Samples, windows: Windows, exclusive: bool, rows: np.ndarray
) -> np.ndarray:
    """Probabilities (n, C) of records `rows`."""
    logits = window_logits(classifier.encoder, classifier.head, SelectedSamples(samples, rows), windows)
    return as_probabilities(logits.mean(len(rows)), exclusive)
