from __future__ import annotations

import pytest
import torch

from anyjepa.diagnostics.inputs import input_signs
from anyjepa.diagnostics.steps import gradient_norm, relative_change


def test_norms_by_hand():
    weights = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True), torch.zeros(3)]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert gradient_norm(weights) == 5
    before = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert relative_change(before, before) == 0
    assert relative_change(before, [torch.tensor([3.0]), torch.tensor([4.5])]) == pytest.approx(0.1)
    assert relative_change([], []) == 0


def test_inputs_by_hand():
    x = torch.tensor([[[1.0, 3.0]], [[1.0, 3.0]]])  # two equal samples
    assert input_signs(x) == {"input_mean": 2, "input_std": 1, "input_between": 0}
    x = torch.tensor([[[1.0, 1.0]], [[3.0, 3.0]]])  # flat lines of different height
    assert input_signs(x) == {"input_mean": 2, "input_std": 1, "input_between": 1}
    assert input_signs(torch.full((4, 1, 8), 7.0)) == {"input_mean": 7, "input_std": 0, "input_between": 0}


def test_absent_channels_do_not_count():
    x = torch.randn(8, 2, 10, generator=torch.Generator().manual_seed(0))
    absent = torch.cat([x, torch.full((8, 1, 10), torch.nan)], 1)
    assert input_signs(absent) == pytest.approx(input_signs(x))
