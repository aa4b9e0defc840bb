"""Attention weights beside the fast path are those of the fast path."""

from __future__ import annotations

import pytest
import torch

from anyjepa.nn import transformer
from anyjepa.nn.attended import attended
from anyjepa.nn.attention import attend
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViT, ViTConfig


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"registers": 2},
        {"block": BlockConfig(qk_norm="affine", qkv_bias=True, attention_dropout=0.5)},
        {"positions": RotaryConfig(), "cls": True, "causal": True},
    ],
)
def test_weights_are_those_of_the_fast_path(changes, monkeypatch):
    torch.manual_seed(0)
    encoder = ViT(ViTConfig(patch=(4, 4), dim=16, depth=2, heads=2, **changes), 3, (16, 16))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    x, seen = torch.randn(2, 3, 16, 16), []

    def spy(q, k, v, *rest):
        length = q.shape[-2]
        seen.append(attend(q, k, torch.eye(length).expand(*q.shape[:2], length, length), *rest))
        return attend(q, k, v, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(transformer, "attend", spy)
        encoder.eval().features(x)
    prefix = len(encoder.prefix)
    expected = seen[-1].mean(1)[:, prefix:, prefix:].mean(1)
    encoder.train()
    torch.testing.assert_close(attended(encoder, x), expected)
    assert encoder.training
    assert not encoder.transformer.blocks[-1].attn._forward_pre_hooks  # it leaves the encoder as it was
