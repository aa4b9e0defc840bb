"""Every kind of encoder fulfils the interface."""

from __future__ import annotations

import pytest
import torch

from anyjepa.nn.convolution import ConvConfig
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.genes import GeneConfig
from anyjepa.nn.vit import ViTConfig


@pytest.mark.parametrize(
    ("config", "channels", "size", "grid", "prefix"),
    [
        (ViTConfig(patch=(4,), dim=8, depth=1, heads=2), 2, (16,), (4,), 0),
        (ViTConfig(patch=(4, 4), dim=8, depth=1, heads=2, cls=True, registers=2), 3, (8, 16), (2, 4), 3),
        (ConvConfig(widths=(4, 8), blocks=1), 3, (8, 16), (4, 8), 0),
        (GeneConfig(tokens=4, dim=8, depth=1, heads=2), 1, (10,), (4,), 0),
    ],
)
def test_an_encoder_turns_an_input_into_a_token_per_place(
    config: AnyEncoder, channels: int, size: tuple[int, ...], grid: tuple[int, ...], prefix: int
) -> None:
    encoder = config.build(channels, size).eval()
    assert isinstance(encoder, Encoder)
    assert (encoder.config, encoder.channels, encoder.size, encoder.grid) == (config, channels, size, grid)
    x, tokens = torch.randn(3, channels, *size), torch.tensor(grid).prod().item()
    front, patches = encoder.features(x)
    assert front.shape == (3, prefix, 8)
    assert patches.shape == (3, tokens, encoder.dim)
    torch.testing.assert_close(encoder(x, start=torch.zeros(3)).padded(), patches)
    with pytest.raises(ValueError, match="the encoder was built for"):
        encoder(torch.randn(3, channels + 1, *size))


def test_an_encoder_of_ones_own_needs_one_method() -> None:
    class Nothing(Encoder):
        pass

    with pytest.raises(TypeError, match="forward"):
        Nothing(ConvConfig(), 1, (8,), (2,))  # type: ignore[abstract]
