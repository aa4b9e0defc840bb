"""Index tensors of context and targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.masks.base import Masks, MaskSampler

CONTEXT = torch.tensor([[0, 1], [2, 3]])
TARGETS = torch.tensor([[[2, 3, 4], [4, 3, 0]], [[0, 1, 4], [4, 4, 0]]])
VALID = torch.tensor([[[True, True, True], [True, False, False]], [[True, True, False], [False, False, True]]])


def test_targets_are_packed_sample_by_sample_and_block_by_block() -> None:
    values = torch.arange(10.0).view(2, 5, 1)
    assert Masks(CONTEXT, TARGETS).of(values).flatten().tolist() == [2, 3, 4, 4, 3, 0, 5, 6, 9, 9, 9, 5]
    assert Masks(CONTEXT, TARGETS, None, VALID).of(values).flatten().tolist() == [2, 3, 4, 4, 5, 6, 5]


def test_rows_have_no_needless_padding() -> None:
    first = Masks(CONTEXT, TARGETS, None, VALID).rows(slice(0, 1))
    assert first.targets.shape == (1, 2, 3)
    assert first.targets_valid is not None
    assert first.count() == 4
    shorter = Masks(CONTEXT, TARGETS, None, VALID & torch.tensor([True, True, False])).rows(slice(1, 2))
    assert shorter.targets.tolist() == [[[0, 1], [4, 4]]]
    assert shorter.targets_valid is not None
    full = Masks(CONTEXT, TARGETS, torch.tensor([[True, True], [True, False]])).rows(slice(0, 1))
    assert full.context_valid is None


def test_only_valid_targets_count() -> None:
    assert Masks(CONTEXT, TARGETS).count() == 12
    assert Masks(CONTEXT, TARGETS, None, VALID).count() == 7


class Fixed(MaskSampler):
    """Masks that a test chooses."""

    def sample(self, grid, shared, uniforms):
        return [MASKS[-1]]


MASKS: list[Masks] = []


@pytest.mark.parametrize(
    ("context", "targets", "message"),
    [
        ([[0, 1]], [[[2]]], r"context must be int64 of shape \(B, K\) with B = 2, got torch.int64 \(1, 2\)"),
        ([[0], [1]], [[2], [3]], r"targets must be int64 of shape \(B, M, T\) with B = 2, got torch.int64 \(2, 1\)"),
        ([[0.0], [1.0]], [[[2]], [[3]]], r"context must be int64 of shape \(B, K\)"),
        ([[0], [1]], [[[2]], [[4]]], "targets must hold token numbers from 0 to 3"),
        ([[-1], [1]], [[[2]], [[3]]], "context must hold token numbers from 0 to 3"),
        ([[], []], [[[2]], [[3]]], "context of a sample is empty"),
    ],
)
def test_masks_that_do_not_fit_the_batch_are_refused(context, targets, message):
    dtype = None if context[0] else torch.int64
    MASKS.append(Masks(torch.tensor(context, dtype=dtype), torch.tensor(targets)))
    with pytest.raises(ValueError, match=message):
        Fixed().draw((2, 2), 2, np.random.default_rng(0))


def test_masks_that_fit_are_drawn():
    MASKS.append(Masks(torch.tensor([[0], [1]]), torch.tensor([[[2]], [[3]]])))
    assert Fixed().draw((2, 2), 2, np.random.default_rng(0)) == [MASKS[-1]]
