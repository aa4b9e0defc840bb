from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.evaluation.cache import FeatureCache, cache_key
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT, ViTConfig


def get(cache, key, compute):
    return cache.find(key) or cache.keep(key, compute())


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    config = ViTConfig(patch=(5,), dim=16, depth=1, heads=2, registers=1)
    return ViT(config, channels=2, size=(40,)).eval()


def test_the_cache_avoids_computing_again(tmp_path, encoder):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3.0)}

    first = FeatureCache(tmp_path)
    for cache in (first, first, FeatureCache(tmp_path)):  # memory, then disk
        assert get(cache, "key", compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    (tmp_path / "key.npz").write_bytes((tmp_path / "key.npz").read_bytes()[:100])
    assert get(FeatureCache(tmp_path), "key", compute)["x"].tolist() == [0, 1, 2]
    (tmp_path / "key.npz").write_text("not a zip file")
    assert get(FeatureCache(tmp_path), "key", compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]
    get(FeatureCache(), "key", compute)
    assert len(calls) == 4


def test_a_damaged_byte_is_noticed(tmp_path):
    get(FeatureCache(tmp_path), "key", lambda: {"x": np.zeros(1000)})
    content = bytearray((tmp_path / "key.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "key.npz").write_bytes(content)
    assert get(FeatureCache(tmp_path), "key", lambda: {"x": np.ones(1000)})["x"].all()


def test_the_key_knows_weights_signals_and_settings(encoder):
    hashes = ["first", "second"]
    key = cache_key("mean", encoder, hashes, Windows(), "32")
    assert key == cache_key("mean", encoder, hashes, Windows(batch=1), "32")
    assert key != cache_key("tokens", encoder, hashes, Windows(), "32")
    assert key != cache_key("mean", encoder, hashes, Windows(), "bf16")
    assert key != cache_key("mean", encoder, hashes[::-1], Windows(), "32")
    assert key != cache_key("mean", encoder, hashes, Windows(length=20), "32")
    other = ViT(encoder.config, channels=2, size=(40,))
    assert key != cache_key("mean", other, hashes, Windows(), "32")
    other.load_state_dict(encoder.state_dict())
    assert key == cache_key("mean", other, hashes, Windows(), "32")
