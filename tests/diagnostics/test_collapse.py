from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import floats, integers

from anyjepa.diagnostics.collapse import (
    between_samples,
    collapse_metrics,
    dead_dimensions,
    per_dim_std,
    spread,
    uniformity,
)
from anyjepa.diagnostics.spectrum import alpha_req, effective_rank, lidar


@given(rank=integers(1, 8), seed=integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_rank_counts_orthogonal_directions_of_equal_strength(rank, seed):
    q = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))).Q[:, :rank]
    z = torch.cat([q, -q], dim=1).T + 5.0  # centred: every direction twice, offset removed
    assert effective_rank(z).item() == pytest.approx(rank, rel=1e-3)


def test_collapsed_representations():
    z = torch.full((32, 8), 3.7)
    metrics = collapse_metrics(z)
    assert math.isnan(metrics.pop("alpha"))
    expected = {"std": 0.0, "rank": 1.0, "uniformity": 0.0, "dead": 1.0, "spread": 0.0}
    assert metrics == pytest.approx(expected, abs=1e-6)


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
    own = {"between": between_samples(z).item(), "spread": spread(z).item()}
    own["token_rank"] = effective_rank((z - z.mean(0)).flatten(0, 1)).item()
    assert collapse_metrics(z) == {**collapse_metrics(z.mean(1)), **own}


def test_std_by_hand():
    z = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert per_dim_std(z).tolist() == [1.0, 0.0]


def test_uniformity_by_hand():
    z = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])  # squared distances on the circle: 2, 4, 2
    assert uniformity(z).item() == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), rel=1e-5)


def test_half_precision_is_accepted():
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    assert effective_rank(z.bfloat16()).item() == pytest.approx(effective_rank(z).item(), rel=0.01)


@given(scale=floats(0.01, 100), seed=integers(0, 100))
@settings(deadline=None, max_examples=10)
def test_spread_is_what_position_means_and_scale_leave(scale, seed):
    draw = torch.Generator().manual_seed(seed)
    positions = torch.randn(1, 16, 8, generator=draw)
    assert spread(scale * positions.expand(32, -1, -1)).item() < 1e-6  # tokens differ, samples do not
    noise = torch.randn(256, 16, 8, generator=draw)
    assert spread(scale * noise).item() == pytest.approx(1, abs=0.01)
    assert spread(scale * (positions + 0.1 * noise)).item() < 0.15


def test_dead_dimensions_are_counted():
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    z[:, 5:] = 3.0
    assert dead_dimensions(z).item() == 3 / 8


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_alpha_is_the_exponent_of_the_eigenvalues(alpha):
    q = torch.linalg.qr(torch.randn(32, 16, generator=torch.Generator().manual_seed(0)).double()).Q
    strength = torch.arange(1, 17).double() ** (-alpha / 2)
    z = torch.cat([q * strength, -q * strength])  # centred, singular values are the strengths up to a factor
    assert alpha_req(5 * z + 2).item() == pytest.approx(alpha, abs=1e-3)


def test_no_spectrum_has_no_exponent():
    assert math.isnan(alpha_req(torch.ones(8, 4)).item())
    assert math.isnan(alpha_req(torch.tensor([[1.0, torch.nan], [0.0, 1.0]])).item())


@given(rank=integers(1, 6))
@settings(deadline=None, max_examples=6)
def test_lidar_counts_directions_in_which_samples_differ_more_than_views(rank):
    draw = torch.Generator().manual_seed(rank)
    q = torch.linalg.qr(torch.randn(64, 64, generator=draw)).Q[:, :rank]
    centres = torch.zeros(128, 12)
    centres[:64, :rank], centres[64:, :rank] = 1e4 * q, -1e4 * q
    views = centres.unsqueeze(1) + torch.randn(128, 6, 12, generator=draw)
    assert lidar(views).item() == pytest.approx(rank, rel=0.03)
    assert lidar(10 * views, delta=1e-4).item() == pytest.approx(rank, rel=0.03)  # the scale does not matter


def test_lidar_ignores_a_direction_in_which_views_differ_as_much():
    draw = torch.Generator().manual_seed(0)
    views = 0.01 * torch.randn(256, 8, 4, generator=draw)
    views[..., 0] += 10 * torch.randn(256, 1, generator=draw)  # between samples
    views[..., 1] += 10 * torch.randn(256, 8, generator=draw)  # within samples
    assert lidar(views).item() == pytest.approx(1, abs=0.01)
    assert effective_rank(views.flatten(0, 1)).item() > 1.8  # which the rank cannot know
    assert lidar(torch.zeros(8, 2, 4)).item() == 1
