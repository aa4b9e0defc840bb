from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers

from anyjepa.diagnostics.collapse import between_samples, collapse_metrics, effective_rank, per_dim_std, uniformity


@given(rank=integers(1, 8), seed=integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_rank_counts_orthogonal_directions_of_equal_strength(rank, seed):
    q = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))).Q[:, :rank]
    z = torch.cat([q, -q], dim=1).T + 5.0  # centred: every direction twice, offset removed
    assert effective_rank(z).item() == pytest.approx(rank, rel=1e-3)


def test_collapsed_representations():
    z = torch.full((32, 8), 3.7)
    assert collapse_metrics(z) == pytest.approx({"std": 0.0, "rank": 1.0, "uniformity": 0.0}, abs=1e-6)


def test_what_is_no_number_has_no_rank():
    assert math.isnan(effective_rank(torch.tensor([[1.0, float("nan")], [0.0, 1.0]])).item())


def test_rank_of_noise_is_nearly_full():
    z = torch.randn(4096, 16, generator=torch.Generator().manual_seed(0))
    assert 15.5 < effective_rank(z).item() <= 16.001


@given(seed=integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_tokens_that_differ_only_within_a_sample_show(seed):
    draw = torch.Generator().manual_seed(seed)
    healthy = torch.randn(64, 32, 8, generator=draw)
    assert between_samples(healthy).item() == pytest.approx(1, abs=0.05)
    collapsed = healthy[:1] + 0.001 * torch.randn(64, 32, 8, generator=draw)
    assert between_samples(collapsed).item() < 0.002
    assert between_samples(7 * collapsed + 3).item() == pytest.approx(between_samples(collapsed).item(), rel=1e-3)
    assert between_samples(torch.zeros(4, 3, 2)).item() == 0


def test_tokens_are_measured_by_their_means():
    z = torch.randn(16, 5, 4, generator=torch.Generator().manual_seed(0))
    assert collapse_metrics(z) == {**collapse_metrics(z.mean(1)), "between": between_samples(z).item()}


def test_std_by_hand():
    z = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert per_dim_std(z).tolist() == [1.0, 0.0]


def test_uniformity_by_hand():
    z = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])  # squared distances on the circle: 2, 4, 2
    assert uniformity(z).item() == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), rel=1e-5)


def test_half_precision_is_accepted():
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    assert effective_rank(z.bfloat16()).item() == pytest.approx(effective_rank(z).item(), rel=0.01)
