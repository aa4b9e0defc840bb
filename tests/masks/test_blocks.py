"""Laws of block masks, and how often each place is used (figures: 8,000 samples of another implementation)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.masks.base import Masks, coverage
from anyjepa.masks.blocks import BlocksConfig

CIFAR = BlocksConfig(scale=(0.15, 0.25), context_scale=(0.75, 0.95))


def drawn(config: BlocksConfig, grid: tuple[int, int], batch: int, seed: int = 0) -> Masks:
    rng = np.random.default_rng(seed)
    return config.draw(grid, batch, rng)[0]


def members(index: torch.Tensor, valid: torch.Tensor | None, tokens: int) -> torch.Tensor:
    """(..., K) token numbers -> (..., tokens) bool."""
    valid = torch.ones_like(index, dtype=torch.bool) if valid is None else valid
    return torch.zeros(*index.shape[:-1], tokens).scatter_add_(-1, index, valid.float()) > 0


def maps(masks: Masks, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Context (B, rows, columns) and targets (B, M, rows, columns)."""
    tokens = grid[0] * grid[1]
    context = members(masks.context, masks.context_valid, tokens).unflatten(-1, grid)
    return context, members(masks.targets, masks.targets_valid, tokens).unflatten(-1, grid)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(2, 20),
    columns=st.integers(2, 20),
    targets=st.integers(1, 5),
    scale=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**32),
)
def test_every_sample_has_a_context_that_no_target_touches(rows, columns, targets, scale, seed):
    config = BlocksConfig(targets=targets, scale=(scale, min(1.0, scale + 0.1)), context_scale=(0.3, 1.0))
    context, target = maps(drawn(config, (rows, columns), 16, seed), (rows, columns))
    assert context.flatten(1).any(1).all()
    assert target.flatten(2).any(2).all()
    assert not (context & target.any(1)).any()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_targets_are_rectangles_of_the_scale_and_aspect_asked_for(seed):
    _, target = maps(drawn(BlocksConfig(), (14, 14), 16, seed), (14, 14))
    height, width = target.any(3).sum(2), target.any(2).sum(2)
    assert torch.equal(target.flatten(2).sum(2), height * width)
    assert (height * width >= 0.15 * 196 - 7).all()
    assert (height * width <= 0.2 * 196 + 7).all()
    assert (width / height).min() > 0.6
    assert (width / height).max() < 1.8


@pytest.mark.parametrize(
    ("config", "grid", "mean", "hidden", "by_row"),
    [
        (BlocksConfig(), (14, 14), 89.6, 94.5, [0.59, 0.65, 0.53, 0.43, 0.35, 0.32, 0.32]),
        (CIFAR, (8, 8), 23.0, 34.2, [0.45, 0.44, 0.30, 0.26]),
        (BlocksConfig(), (8, 8), 30.1, 31.8, [0.65, 0.51, 0.37, 0.34]),
    ],
)
def test_exact_masks_use_every_patch_and_neither_side_more(config, grid, mean, hidden, by_row):
    used = coverage([drawn(config, grid, 20_000)], grid[0] * grid[1])
    assert used.context.sum().item() == pytest.approx(mean, abs=0.3)
    assert used.hidden.sum().item() == pytest.approx(hidden, abs=0.35)
    share = used.context.unflatten(0, grid)
    assert share.min() > 0.05
    assert used.target.min() > 0.001
    for turned in (share.flip(0), share.flip(1)):
        assert (share - turned).abs().max() < 0.02
    assert share.mean(1)[: len(by_row)].tolist() == pytest.approx(by_row, abs=0.015)


def test_reference_masks_have_the_published_bias():
    used = coverage([drawn(BlocksConfig(mode="reference"), (14, 14), 64, seed) for seed in range(60)], 196)
    share = used.context.unflatten(0, (14, 14))
    assert share.sum().item() == pytest.approx(50.7, abs=3)  # of 82 drawn: the rest is cut away, from below
    expected = [0.75, 0.60, 0.48, 0.36, 0.26, 0.21, 0.19, 0.19, 0.20, 0.18, 0.13, 0.06, 0.02, 0.00]
    assert share.mean(1).tolist() == pytest.approx(expected, abs=0.04)
    target = used.target.unflatten(0, (14, 14))
    expected = [0.05, 0.10, 0.15, 0.20, 0.25, 0.29, 0.30, 0.29, 0.25, 0.20, 0.15, 0.10, 0.05, 0.00]
    assert target.mean(1).tolist() == pytest.approx(expected, abs=0.03)
    assert target[-1].sum() == target[:, -1].sum() == share[-1].sum() == share[:, -1].sum() == 0


def test_reference_masks_have_one_length_a_batch():
    masks = drawn(BlocksConfig(mode="reference", min_keep=4), (8, 8), 256)
    assert masks.context_valid is None
    assert masks.targets_valid is None


def test_reference_contexts_are_cut_by_as_many_as_a_process_had():
    """Each to the shortest of its own: what is left of the same contexts when they are cut as a whole, or more."""
    whole, parts = (drawn(BlocksConfig(mode="reference", together=size), (14, 14), 70) for size in (None, 32))
    assert torch.equal(parts.targets, whole.targets)
    assert parts.context_valid is not None
    lengths = parts.context_valid.sum(1)
    assert [len(set(part.tolist())) for part in lengths.split(32)] == [1, 1, 1]
    assert lengths.min() == whole.context.shape[1] < lengths.max() == parts.context.shape[1]
    assert torch.equal(parts.context[:, : lengths.min()], whole.context)
    for first in (0, 32, 64):
        assert parts.rows(slice(first, first + 32)).context_valid is None


def test_the_endless_search_of_the_reference_is_refused():
    with pytest.raises(ValueError, match=r"does not exceed min_keep 10, .* lower min_keep below 9"):
        drawn(BlocksConfig(mode="reference"), (8, 8), 4)


@pytest.mark.parametrize("grid", [(1, 8), (8,), (2, 2, 2)])
def test_a_grid_without_room_is_refused(grid):
    with pytest.raises(ValueError, match="at least 2 x 2"):
        BlocksConfig().check(grid)


def test_limits_must_rise():
    with pytest.raises(ValueError, match="scale must be 0 < low <= high"):
        BlocksConfig(scale=(0.5, 0.2))
