"""Tokens of single channels, attention along time and channels, and positions in every block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from anyjepa.nn.attended import attended
from anyjepa.nn.positions import LearnedConfig, RotaryConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig

CHANNELS, TIMES = 3, 4
BLOCK = BlockConfig(bias=True)


def build(**settings: Any) -> Any:
    torch.manual_seed(0)
    given = {"patch": (5,), "dim": 16, "depth": 1, "heads": 2, "block": BLOCK, "separate": True, **settings}
    vit = ViTConfig(**given).build(CHANNELS, (5 * TIMES,)).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return vit


def signal(batch: int = 2) -> Tensor:
    return torch.randn(batch, CHANNELS, 5 * TIMES, generator=torch.Generator().manual_seed(1))


def test_a_channel_has_its_own_tokens():
    vit, x = build(), signal()
    assert vit.grid == vit.grid_of(x) == (TIMES, CHANNELS)
    expected = torch.stack([vit.project(x[:, :, 5 * t : 5 * t + 5]) for t in range(TIMES)], dim=1)  # (B, T, C, D)
    torch.testing.assert_close(vit.embed(x), expected.flatten(1, 2))


def test_features_are_means_over_channels():
    vit, x = build(registers=2), signal()
    prefix, features = vit.features(x)
    assert prefix.shape == (2, 2, 16)
    torch.testing.assert_close(features, vit(x).padded().unflatten(1, (TIMES, CHANNELS)).mean(2))


@pytest.mark.parametrize("cross", [False, True])
def test_a_token_sees_its_time_and_its_channel(cross: bool):
    vit, x = build(cross=cross), signal(1).requires_grad_()
    outputs = vit(x).padded()[0].unflatten(0, (TIMES, CHANNELS))
    for time in range(TIMES):
        for channel in range(CHANNELS):
            (gradient,) = torch.autograd.grad(outputs[time, channel].square().sum(), x, retain_graph=True)
            seen = gradient[0].unflatten(1, (TIMES, 5)).abs().sum(2) > 1e-9  # (C, T)
            expected = torch.ones(CHANNELS, TIMES, dtype=torch.bool)
            if cross:
                expected[:] = False
                expected[channel], expected[:, time] = True, True
            assert torch.equal(seen, expected)


def test_images_are_crossed_along_rows_and_columns():
    torch.manual_seed(0)
    vit = ViTConfig(patch=(2, 2), dim=16, depth=1, heads=2, cross=True).build(3, (6, 6)).eval()
    x = torch.randn(1, 3, 6, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(vit(x).padded()[0, 4] @ torch.randn(16), x)
    seen = gradient[0].sum(0).unfold(0, 2, 2).unfold(1, 2, 2).abs().sum((2, 3)) > 0
    assert seen.tolist() == [[False, True, False], [True, True, True], [False, True, False]]


def test_registers_see_and_are_seen_by_all():
    vit, x = build(cross=True, registers=1), signal(1)
    weights = attended(vit, x)
    assert weights.shape == (1, TIMES * CHANNELS)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(vit.features(x)[0].sum(), x)
    assert (gradient.abs() > 0).all()


def test_attention_weights_are_those_of_the_forward_pass():
    """Without a prefix, all attention is between tokens that share a coordinate: rows sum to 1."""
    weights = attended(build(cross=True), signal())
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


@pytest.mark.parametrize("settings", [{}, {"cross": True}, {"cross": True, "positions_again": True, "registers": 2}])
def test_padded_samples_are_computed_as_alone(settings: dict[str, Any]):
    vit, x = build(depth=2, **settings), signal()
    keep = torch.tensor([[0, 2, 3, 7, 11], [5, 8, 0, 0, 0]])
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    together = vit(x, keep=keep, valid=valid)
    alone = [vit(x[:1], keep=keep[:1]).values, vit(x[1:], keep=keep[1:, :2]).values]
    torch.testing.assert_close(together.values, torch.cat(alone))
    together.values.square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in vit.parameters())


def test_positions_are_added_before_every_block():
    vit, x = build(depth=3, positions_again=True, positions=LearnedConfig(), registers=1), signal()
    places = torch.cat([torch.zeros(1, 16), vit.positions.learned])
    tokens = torch.cat([vit.prefix.expand(2, -1, -1), vit.embed(x)], dim=1)
    once = build(depth=1, positions=LearnedConfig(), registers=1)
    for block in vit.transformer.blocks:
        once.transformer.blocks[0].load_state_dict(block.state_dict())
        layout = once._encode(x, None, None, None).layout
        tokens = layout.pad(once.transformer(layout.pack(tokens + places), layout))
    torch.testing.assert_close(vit(x).padded(), vit.norm(tokens[:, 1:]))


def test_hidden_tokens_have_no_positions_in_any_block():
    vit, x = build(depth=2, positions_again=True), signal()
    shown = torch.ones(2, TIMES * CHANNELS)
    shown[:, 4] = 0
    moved = build(depth=2, positions_again=True)
    moved.positions.table[4] = torch.randn(16)
    torch.testing.assert_close(vit(x, shown=shown).values, moved(x, shown=shown).values)
    assert not torch.allclose(vit(x).values, moved(x).values)


def test_a_shift_in_time_moves_positions_of_all_channels():
    vit, x = build(), signal()
    later = vit.positions(vit.grid, torch.tensor([2.0, 0.0]))
    longer = vit.positions((TIMES + 2, CHANNELS))
    torch.testing.assert_close(later[0], longer[2 * CHANNELS :])
    torch.testing.assert_close(later[1], vit.positions(vit.grid))
    assert torch.isfinite(vit(x, start=torch.tensor([2.0, 0.0])).values).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cross": True, "separate": False}, "cross: needs tokens with two coordinates"),
        ({"causal": True}, "causal: tokens of one time have no order"),
        ({"absent": True}, "absent: an absent channel has no tokens of its own"),
        ({"positions_again": True, "positions": RotaryConfig()}, "rotary positions are in every block already"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        build(**settings)
