"""Numbers of Kim's ECG-JEPA, matched by the rule of tests/golden/ecg_jepa_kim/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_vectors import Vectors

import anyjepa
from anyjepa.weights.importers import import_weights


class Golden(Vectors):
    """The vectors; theirs are ordered by lead, then time, ours by time, then lead."""

    def __init__(self, folder: Path, model: Any):
        self.vectors = dict(np.load(folder / "vectors.npz"))
        self.model, self.x = model, self.tensor("adc").float() / 200  # mV

    def match_tokens(self, key: str, ours: torch.Tensor) -> None:
        self.match(key, ours.unflatten(1, (-1, 8)).transpose(1, 2).flatten(1, 2))


@pytest.fixture(scope="module")
def kim(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    folder = import_weights(golden / "ecg_jepa_kim" / "epoch100.pth", tmp_path_factory.mktemp("kim") / "model", heads=4)
    return Golden(golden / "ecg_jepa_kim", anyjepa.load(folder, device="cpu"))


@torch.no_grad()
def test_tokens(kim: Golden):
    kim.match_tokens("tokens", kim.model.encoder(kim.x).padded())


@torch.no_grad()
def test_tokens_of_a_masked_input(kim: Golden):
    times = (~kim.tensor("hidden")).nonzero().flatten()
    keep = (8 * times[:, None] + torch.arange(8)).flatten().expand(2, -1)
    kim.match_tokens("visible", kim.model.encoder(kim.x, keep=keep).padded())


@torch.no_grad()
def test_tokens_of_masked_inputs_of_other_lengths(kim: Golden):
    """With padding, in one batch with a sample of which everything is visible."""
    times = (~kim.tensor("hidden")).nonzero().flatten()
    some = (8 * times[:, None] + torch.arange(8)).flatten()
    keep, valid = torch.zeros(2, 400, dtype=torch.int64), torch.ones(2, 400, dtype=torch.bool)
    keep[0], keep[1, : len(some)] = torch.arange(400), some
    valid[1, len(some) :] = False
    ours = kim.model.encoder(kim.x, keep=keep, valid=valid).padded()
    whole, masked = kim.vectors["tokens"], kim.vectors["visible"]
    kim.vectors |= {"whole 0": whole[:1], "masked 1": masked[1:]}
    kim.match_tokens("whole 0", ours[:1])
    kim.match_tokens("masked 1", ours[1:, : len(some)])


def test_embedding_is_the_published_representation(kim: Golden):
    ours = kim.model.embed(kim.x.numpy(), fs=250, leads=kim.model.preprocessing.leads, unit="mV")
    kim.match("representation", torch.from_numpy(ours))
