"""The residual network: ResNet-18's size, its grid of tokens, and that it refuses to hide anything."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from anyjepa.errors import InputError
from anyjepa.nn.convolution import ConvConfig, ConvEncoder
from anyjepa.nn.pooling import HeadConfig
from anyjepa.nn.vit import ViT, ViTConfig
from anyjepa.objectives.masked import MaskedPredictionConfig

SMALL = ConvConfig(widths=(8, 16, 24), blocks=1, heads=2)


def test_the_default_is_resnet_18_without_its_classifier() -> None:
    """11,176,512 parameters with the 7 x 7 stem of ImageNet, whose place 3 x 3 takes."""
    with torch.device("meta"):
        model = ConvEncoder(ConvConfig(), 3, (32, 32))
    assert sum(p.numel() for p in model.parameters()) == 11_176_512 - 64 * 3 * (49 - 9)
    assert (model.grid, model.dim, model.config.patch) == ((4, 4), 512, (8, 8))


@pytest.mark.parametrize(("axes", "size", "grid"), [(1, (40,), (10,)), (2, (16, 32), (4, 8))])
def test_tokens_are_places_of_the_last_map(axes: int, size: tuple[int, ...], grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = SMALL.model_copy(update={"axes": axes}).build(2, size).eval()
    assert isinstance(model, ConvEncoder)
    assert model.grid == grid
    x = torch.randn(3, 2, *size)
    tokens = model(x).padded()
    assert tokens.shape == (3, len(torch.ones(grid).flatten()), 24)
    prefix, patches = model.features(x)
    assert prefix.shape == (3, 0, 24)
    assert torch.equal(patches, tokens)
    far = x.clone()
    far[..., -1] += 5  # the last column, or sample, is beyond what the first token sees
    assert torch.equal(model(far).padded()[:, 0], tokens[:, 0])
    assert not torch.allclose(model(far).padded()[:, -1], tokens[:, -1])


def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    model = ConvEncoder(ConvConfig(widths=(4,), blocks=1), 2, (8, 8)).eval()
    x, block = torch.randn(2, 2, 8, 8), model.stages[0][0]
    stem = model.stem(x).relu()
    expected = (stem + block.second(block.first(stem).relu())).relu()
    torch.testing.assert_close(model(x).padded(), expected.flatten(2).transpose(1, 2))


def test_nothing_can_be_hidden_from_a_convolution() -> None:
    model, x = SMALL.build(3, (16, 16)), torch.randn(2, 3, 16, 16)
    with pytest.raises(ValidationError, match="masks and causal prediction need kind vit"):
        MaskedPredictionConfig.model_validate(
            {"encoder": {"kind": "conv"}, "predictor": {"dim": 8, "depth": 1, "heads": 2}}
        )
    with pytest.raises(ValueError, match="2 channels, the encoder was built for 3"):
        model(x[:, :2])
    with pytest.raises(ValueError, match="not a positive multiple"):
        model(x[..., :15])


def test_an_attentive_head_needs_heads_that_divide_the_width() -> None:
    config = ConvConfig(widths=(64, 100))
    HeadConfig(kind="mean").build(config.dim, config.heads, 2)
    with pytest.raises(InputError, match="the width 100 is not a multiple of the encoder's 8 heads; choose mean"):
        HeadConfig(kind="attentive").build(config.dim, config.heads, 2)


def test_a_vit_is_the_usual_kind() -> None:
    config = ViTConfig(patch=(4, 4), dim=8, depth=1, heads=2)
    assert type(config.build(3, (16, 16))) is ViT
