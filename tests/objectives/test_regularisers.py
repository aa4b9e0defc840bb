"""VICReg and SIGReg: by hand, over groups, and the collapse that the flattened form does not see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.objectives.regularisers import (
    Rows,
    SigregConfig,
    VicregConfig,
    covariance_term,
    epps_pulley,
    random_directions,
    regularise,
    variance_term,
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(z: Tensor) -> Rows:
    """All tokens of a batch z (B, N, D)."""
    batch, tokens, _ = z.shape
    position = torch.arange(tokens).expand(batch, -1).flatten()
    return Rows(z.flatten(0, 1), position, torch.arange(batch).repeat_interleave(tokens))


@given(seed=st.integers(0, 9999), gamma=st.floats(0.2, 3))
@settings(deadline=None, max_examples=20)
def test_the_variance_term_compares_the_samples_of_each_position(seed: int, gamma: float) -> None:
    z = drawn(seed, 6, 3, 4) + 10 * drawn(seed + 1, 3, 4)
    flat, position, _ = rows(z)
    by_hand = (gamma - (z.var(0) + 1e-4).sqrt()).relu().mean()
    torch.testing.assert_close(variance_term(flat, position, 3, gamma), by_hand)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(variance_term(flat[order], position[order], 3, gamma), by_hand)


def test_a_position_with_one_row_does_not_count() -> None:
    z, position = drawn(0, 6, 4), torch.tensor([0, 0, 0, 0, 0, 2])
    expected = (1 - (z[:5].var(0) + 1e-4).sqrt()).relu().mean()
    torch.testing.assert_close(variance_term(z, position, 4), expected)
    assert variance_term(z[:2], torch.tensor([0, 1]), 4) == 0


@given(seed=st.integers(0, 9999), rows=st.integers(2, 30), dims=st.integers(2, 8))
@settings(deadline=None, max_examples=20)
def test_the_covariance_term_by_hand(seed: int, rows: int, dims: int) -> None:
    z = drawn(seed, rows, dims) + 5
    covariance = torch.cov(z.T)
    by_hand = (covariance - covariance.diagonal().diag()).square().sum() / dims
    torch.testing.assert_close(covariance_term(z), by_hand, rtol=1e-3, atol=1e-5)


@given(seed=st.integers(0, 9999), points=st.integers(2, 30), limit=st.floats(0.5, 6))
@settings(deadline=None, max_examples=20)
def test_the_statistic_is_its_integral(seed: int, points: int, limit: float) -> None:
    """Against complex numbers and the trapezoid rule over all frequencies, a group at a time."""
    values, group = drawn(seed, 12, 3).double(), torch.arange(12) % 2
    config = SigregConfig(points=points, limit=limit)
    ours = epps_pulley(config, values, group, 2)
    t = torch.linspace(-limit, limit, points).double()
    for number in (0, 1):
        own = values[group == number]
        function = torch.exp(1j * own.unsqueeze(-1) * t).mean(0)
        normal = torch.exp(-(t**2) / 2)
        integral = torch.trapezoid((function - normal).abs() ** 2 * normal, t, dim=-1)
        torch.testing.assert_close(ours[number], 6 * integral, rtol=1e-5, atol=1e-6)


def test_the_statistic_is_small_for_normal_rows_only() -> None:
    config, one = SigregConfig(), torch.zeros(2000, dtype=torch.long)
    directions = random_directions(8, 32, torch.device("cpu"))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(32))

    def statistic(z: Tensor) -> float:
        return epps_pulley(config, z @ directions, one, 1).mean().item()

    normal = statistic(drawn(0, 2000, 8))
    for other in (2 * drawn(0, 2000, 8), drawn(0, 2000, 8) + 1, drawn(0, 2000, 8).sign(), torch.zeros(2000, 8)):
        assert statistic(other) > 4 * normal


@pytest.mark.parametrize("config", [VicregConfig(), SigregConfig(directions=64)])
def test_flattened_tokens_hide_a_collapse(config: VicregConfig | SigregConfig) -> None:
    """Every sample has the same representation, and its 64 tokens are as different as those of healthy samples."""
    healthy = drawn(0, 64, 64, 16)
    collapsed = healthy[:1].expand(64, -1, -1)

    def total(z: Tensor, over: str) -> float:
        torch.manual_seed(0)
        terms = regularise(config.model_copy(update={"over": over}), [rows(z)], 64, 64)
        return sum(terms.values()).item()

    if isinstance(config, VicregConfig):
        assert total(collapsed, "flattened") < 2 < 0.1 * total(collapsed, "position")
        assert total(healthy, "position") < 3
    else:
        assert total(collapsed, "position") > 20 * total(healthy, "position")
        # So many equal rows are no normal sample, but a hundredth of what comparing samples would cost is left of it.
        assert total(collapsed, "flattened") / (64 * 64) < 0.05 * total(collapsed, "position") / 64


def test_positions_without_rows_do_not_dilute_the_statistic() -> None:
    """Rows at two of four positions: the mean is over those two."""
    z, config = drawn(0, 16, 4), SigregConfig(weight=1, directions=8)
    few = Rows(z, torch.arange(16) % 2, torch.arange(16) // 2)
    found = []
    for positions in (2, 4):
        torch.manual_seed(0)
        found.append(regularise(config, [few], 8, positions)["sigreg"])
    torch.testing.assert_close(found[0], found[1])


def test_branches_are_summed_or_averaged() -> None:
    one, two = rows(drawn(0, 8, 4, 6)), rows(0.1 * drawn(1, 8, 4, 6))
    both, first, second = (regularise(VicregConfig(), z, 8, 4) for z in ([one, two], [one], [two]))
    for name in ("variance", "covariance"):
        torch.testing.assert_close(both[name], first[name] + second[name])
    torch.manual_seed(0)
    once = regularise(SigregConfig(directions=4096), [one], 8, 4)["sigreg"]
    twice = regularise(SigregConfig(directions=4096), [one, one], 8, 4)["sigreg"]
    torch.testing.assert_close(twice, once, rtol=0.05, atol=0)


@pytest.mark.parametrize("config", [VicregConfig(), SigregConfig()])
def test_terms_stay_in_float32_under_autocast(config: VicregConfig | SigregConfig) -> None:
    z = drawn(0, 8, 4, 6)
    torch.manual_seed(0)
    plain = regularise(config, [rows(z)], 8, 4)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        cast = regularise(config, [rows(z)], 8, 4)
    assert all(torch.equal(cast[name], term) for name, term in plain.items())
