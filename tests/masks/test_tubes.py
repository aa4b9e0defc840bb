"""Laws of tubes and of past-to-future masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.masks.base import Masks, MaskSampler
from anyjepa.masks.temporal import PastFutureConfig
from anyjepa.masks.tubes import TubeGroup, TubesConfig


def drawn(config: MaskSampler, grid: tuple[int, ...], batch: int, seed: int = 0) -> list[Masks]:
    return config.draw(grid, batch, np.random.default_rng(seed))


def member(index: torch.Tensor, valid: torch.Tensor | None, grid: tuple[int, ...]) -> torch.Tensor:
    valid = torch.ones_like(index, dtype=torch.bool) if valid is None else valid
    seen = torch.zeros(len(index), int(np.prod(grid))).scatter_add_(-1, index, valid.float()) > 0
    return seen.unflatten(-1, grid)


def maps(masks: Masks, grid: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    valid = None if masks.targets_valid is None else masks.targets_valid[:, 0]
    return member(masks.context, masks.context_valid, grid), member(masks.targets[:, 0], valid, grid)


@settings(deadline=None, max_examples=30)
@given(frames=st.integers(1, 5), rows=st.integers(2, 9), columns=st.integers(2, 9), seed=st.integers(0, 2**32))
def test_tubes_split_every_frame_alike_into_context_and_targets(frames, rows, columns, seed):
    config = TubesConfig(
        groups=(TubeGroup(blocks=8, scale=(0.15, 0.15)), TubeGroup(blocks=3, scale=(0.7, 0.95), aspect=(0.5, 2.0)))
    )
    grid = (frames, rows, columns)
    masks = drawn(config, grid, 16, seed)
    assert len(masks) == 2
    for group in masks:
        context, target = maps(group, grid)
        assert torch.equal(context, ~target)
        assert context.flatten(1).any(1).all()
        assert target.flatten(1).any(1).all()
        assert torch.equal(target, target[:, :1].expand_as(target))


def test_published_groups_hide_as_much_as_the_reference():
    grid = (8, 14, 14)
    shares = [
        [maps(group, grid)[0].float().mean((0, 2, 3)) for group in drawn(TubesConfig(), grid, 24, seed)]
        for seed in range(40)
    ]
    short, long = (torch.stack(group).mean(0) for group in zip(*shares, strict=True))
    assert short.tolist() == pytest.approx([0.369] * 8, abs=0.02)
    assert long.tolist() == pytest.approx([0.187] * 8, abs=0.02)


def test_reference_tubes_starve_late_frames():
    grid = (8, 14, 14)
    shares = [
        [maps(group, grid)[0].float().mean((0, 2, 3)) for group in drawn(TubesConfig(mode="reference"), grid, 24, seed)]
        for seed in range(60)
    ]
    short, long = (torch.stack(group).mean(0) for group in zip(*shares, strict=True))
    assert short.tolist() == pytest.approx([0.37, 0.37, 0.36, 0.32, 0.21, 0.10, 0.04, 0.02], abs=0.04)
    assert long.tolist() == pytest.approx([0.19, 0.15, 0.08, 0.04, 0.02, 0.01, 0.01, 0.01], abs=0.03)


def test_past_to_future_counts_time_tokens():
    (masks,) = drawn(PastFutureConfig(context=2, target=3, gap=1), (8, 2, 2), 5)
    assert masks.context.tolist() == [list(range(8))] * 5
    assert masks.targets.tolist() == [[list(range(12, 24))]] * 5


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="needs 8 tokens of time, the input has 7"):
        PastFutureConfig().check((7,))
    with pytest.raises(ValueError, match="frames x at least 2 x 2"):
        TubesConfig().check((4, 8))
    with pytest.raises(ValueError, match="0 < scale < 1"):
        TubesConfig(groups=(TubeGroup(blocks=1, scale=(0.5, 1.0)),))


@pytest.mark.parametrize(("mode", "size"), [("reference", 29.12), ("exact", 29.59)])
def test_published_areas_are_rounded_down(mode, size):
    """Of .15 of 196 tokens: the mean block over all aspects."""
    config = TubesConfig(groups=(TubeGroup(blocks=1, scale=(0.15, 0.15)),), mode=mode)
    sizes = [
        config.sample((1, 14, 14), np.array([0.5, aspect]), np.zeros((1, 2)))[0].targets.shape[-1]
        for aspect in np.linspace(0, 1, 1000, endpoint=False)
    ]
    assert np.mean(sizes) == pytest.approx(size, abs=0.05)


def test_published_groups_have_one_aspect():
    """Their generators have one seed; in `exact` each group draws its own."""
    group = TubeGroup(blocks=1, scale=(0.15, 0.15))
    for mode in ("reference", "exact"):
        config, same = TubesConfig(groups=(group, group), mode=mode), []
        for seed in range(20):
            first, second = (maps(masks, (1, 14, 14))[1][0, 0] for masks in drawn(config, (1, 14, 14), 1, seed))
            same.append(torch.equal(first.any(1).sum(), second.any(1).sum()))
        assert all(same) == (mode == "reference")
