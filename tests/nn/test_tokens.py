"""Patches of 1, 2 and 3 dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyjepa.nn.tokens import patchify, token_grid

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize(
    ("samples", "patch"), [((50,), (5,)), ((12, 8), (3, 4)), ((6, 8, 9), (2, 4, 3)), ((4,), (1,)), ((6, 4), (6, 4))]
)
def test_a_linear_on_patches_is_a_convolution(samples: tuple[int, ...], patch: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *samples, dtype=torch.float64)
    convolution = CONVOLUTIONS[len(patch)](3, 7, kernel_size=patch, stride=patch).double()
    expected = convolution(x).flatten(2).transpose(1, 2)  # (B, N, D), raster order
    weight = convolution.weight.flatten(1)
    torch.testing.assert_close(nn.functional.linear(patchify(x, patch), weight, convolution.bias), expected)


def test_grid_counts_patches() -> None:
    assert token_grid((5000,), (25,)) == (200,)
    assert token_grid((16, 224, 224), (2, 16, 16)) == (8, 14, 14)


@pytest.mark.parametrize(
    ("samples", "patch", "says"),
    [((51,), (5,), "multiple"), ((4,), (5,), "multiple"), ((0,), (5,), "multiple"), ((8, 8), (4,), "axes")],
)
def test_input_that_patches_do_not_fill_is_refused(samples: tuple, patch: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        token_grid(samples, patch)
