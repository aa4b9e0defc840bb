"""JEPA-SCORE of benchmarks/trust.py, with whose measurements docs/trust.md explains why it is not used."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

jepa_score = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/trust.py"))["jepa_score"]


class Linear(nn.Module):
    """One token, whose embedding is a matrix times the input, or its square."""

    def __init__(self, matrix: torch.Tensor, square: bool = False):
        super().__init__()
        self.matrix, self.square = nn.Parameter(matrix), square

    def features(self, x):
        flat = x.flatten(1).square() if self.square else x.flatten(1)
        return None, (flat @ self.matrix.T)[:, None]


def test_it_is_half_the_log_determinant_of_a_linear_encoder():
    matrix, x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), np.ones((5, 2, 4), np.float32)
    expected = np.log(np.linalg.svd(matrix.numpy().astype(float))[1]).sum()
    np.testing.assert_allclose(jepa_score(SimpleNamespace(encoder=Linear(matrix)), x, 2), expected, rtol=1e-5)


def test_each_record_has_its_own_jacobian_and_lost_dimensions_count_as_1e_6():
    matrix, x = torch.diag(torch.tensor([1.0, 2.0, 0.0])), np.array([[[1, 1, 1]], [[3, 5, 7]]], np.float32)
    found = jepa_score(SimpleNamespace(encoder=Linear(matrix, square=True)), x)
    np.testing.assert_allclose(found, np.log([2 * 4 * 1e-6, 6 * 20 * 1e-6]), rtol=1e-5)  # slopes are 2 a x
