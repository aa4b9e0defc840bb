"""Past-to-future masks on time alone (series) and on time by space (video); spans on time alone."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.masks.spans import SpanConfig
from anyjepa.masks.temporal import PastFutureConfig


@settings(deadline=None, max_examples=50)
@given(
    context=st.integers(1, 6),
    gap=st.integers(0, 3),
    target=st.integers(1, 6),
    after=st.integers(0, 3),
    space=st.lists(st.integers(1, 4), max_size=2),
)
def test_context_is_the_past_and_targets_the_future_everywhere_in_space(context, gap, target, after, space):
    config = PastFutureConfig(context=context, target=target, gap=gap)
    grid = (context + gap + target + after, *space)
    (masks,) = config.sample(grid, np.zeros(0), np.zeros((3, 0)))
    time = torch.arange(grid[0]).repeat_interleave(int(np.prod(space, dtype=int)))  # of each token, in raster order
    rest = int(np.prod(space, dtype=int))
    assert config.draws(grid) == (0, 0)
    assert masks.context_valid is None
    assert masks.targets_valid is None
    for row in range(3):
        assert torch.equal(time[masks.context[row]].unique(return_counts=True)[0], torch.arange(context))
        assert time[masks.targets[row, 0]].min() == context + gap
        assert time[masks.targets[row, 0]].max() == context + gap + target - 1
        assert len(masks.context[row].unique()) == context * rest
        assert len(masks.targets[row, 0].unique()) == target * rest


def test_the_published_kind_splits_eight_tokens_of_time_in_halves():
    for grid in ((8,), (8, 2, 3)):
        (masks,) = PastFutureConfig().sample(grid, np.zeros(0), np.zeros((1, 0)))
        half = int(np.prod(grid)) // 2
        assert masks.context[0].tolist() == list(range(half))
        assert masks.targets[0, 0].tolist() == list(range(half, 2 * half))


def test_spans_hide_all_tokens_of_a_time():
    config = SpanConfig(min_span=4)
    (masks,) = config.draw((32,), 2, np.random.default_rng(0))
    together = torch.cat([masks.context, masks.targets[:, 0]], dim=1)
    assert torch.equal(together.sort(1).values, torch.arange(32).expand(2, -1))
    (of_leads,) = config.draw((32, 3), 2, np.random.default_rng(0))
    for alone, three in ((masks.context, of_leads.context), (masks.targets[:, 0], of_leads.targets[:, 0])):
        assert torch.equal(three, (3 * alone[:, :, None] + torch.arange(3)).flatten(1))
