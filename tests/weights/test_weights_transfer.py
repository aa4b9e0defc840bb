"""Weights in a network for inputs of another size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.nn.positions import LearnedConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViT, ViTConfig
from anyjepa.weights.transfer import check_encoders, resampled, transfer


def encoder(size=(40,), channels=2, **changes) -> ViT:
    settings = {"patch": (5,) * len(size), "dim": 8, "depth": 1, "heads": 2, "positions": LearnedConfig()}
    return ViTConfig(**(settings | changes)).build(channels, size)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.data())
def test_a_constant_table_stays_constant_and_the_same_grid_changes_nothing(old, data):
    new = [data.draw(st.integers(1, 6)) for _ in old]
    table = torch.randn(1, 4).expand(torch.tensor(old).prod(), 4)
    assert torch.allclose(resampled(table, old, new), table[:1].expand(torch.tensor(new).prod(), 4), atol=1e-5)
    other = torch.randn(int(torch.tensor(old).prod()), 4)
    assert resampled(other, old, old) is other


def test_axes_are_resampled_apart():
    """A table that depends on the row only still does on a grid with more columns."""
    rows = torch.randn(3, 1, 4)
    table = rows.expand(3, 2, 4).flatten(0, 1)
    new = resampled(table, (3, 2), (3, 5)).unflatten(0, (3, 5))
    assert torch.allclose(new, rows.expand(3, 5, 4), atol=1e-5)


def test_a_longer_input_reads_the_same_weights():
    old, new = encoder(), encoder(size=(80,))
    transfer("m", old, new)
    assert new.positions.learned.shape == (16, 8)
    own = {name: value for name, value in new.state_dict().items() if name != "positions.learned"}
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in own.items())
    sincos = [encoder(size=size, positions={"kind": "sincos"}) for size in ((40,), (80,))]
    transfer("m", *sincos)
    x = torch.randn(1, 2, 40)
    assert torch.equal(sincos[0](x).values, sincos[1](x).values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": (10,)}, "its tokens are 5 samples of 2 channels, here they are 10 samples of 2 channels; the patch"),
        ({"channels": 1}, "here they are 5 samples of 1 channel; the patch projection reads what it was trained on"),
        ({"heads": 4}, "m: objective.encoder.heads is 2, here it is 4; use the same"),
        ({"block": BlockConfig(mlp="relu")}, "encoder.block.mlp is gelu, here it is relu"),
        ({"positions": {"kind": "sincos"}}, "encoder.positions.kind is learned, here it is sincos"),
    ],
)
def test_another_network_is_refused_with_the_reason(changes, message):
    with pytest.raises(InputError, match=message):
        check_encoders("m", encoder(), encoder(**changes))


def test_settings_of_training_may_differ():
    check_encoders("m", encoder(), encoder(block=BlockConfig(dropout=0.1, drop_path=0.2), prefix_std=1.0))
