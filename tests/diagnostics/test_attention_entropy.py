from __future__ import annotations

import pytest
import torch

from anyjepa.diagnostics.attention import attention_entropy, attention_signs
from anyjepa.nn.vit import ViT, ViTConfig


def test_entropy_of_constructed_attention():
    assert attention_entropy(torch.full((2, 3, 5, 5), 0.2)) == pytest.approx(1)
    assert attention_entropy(torch.eye(5).expand(2, 3, -1, -1)) == 0
    half = torch.zeros(4, 4)
    half[:, :2] = 0.5
    half[0] = torch.tensor([0.0, 0.0, 0.5, 0.5])  # so that this is not causal
    assert attention_entropy(half) == pytest.approx(0.5)  # log 2 / log 4


def test_a_causal_query_has_the_keys_up_to_itself():
    uniform = torch.ones(6, 6).tril() / torch.arange(1, 7).unsqueeze(1)
    assert attention_entropy(uniform) == pytest.approx(1)


@pytest.mark.parametrize(("scale", "low", "high"), [(0.0, 1 - 1e-6, 1 + 1e-6), (1000.0, 0.0, 0.2)])
def test_an_encoder_whose_queries_and_keys_are_zero_or_huge(scale, low, high):
    torch.manual_seed(0)
    encoder = ViT(ViTConfig(patch=(5,), dim=16, depth=2, heads=2, registers=1), 2, (100,))
    for block in encoder.transformer.blocks:
        block.attn.qkv.weight.data[:32] *= scale
    x = torch.randn(4, 2, 100)
    signs = attention_signs(encoder, lambda: encoder.features(x))
    assert low <= signs["attention_entropy"] <= high
    assert not encoder.transformer.blocks[0].attn._forward_pre_hooks


def test_without_attention_there_is_no_entropy():
    assert attention_signs(torch.nn.Linear(2, 2), lambda: None) == {}
