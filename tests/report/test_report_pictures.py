"""Masks on pictures, neighbours and attention: foreign arrays are named, text stays text."""

from __future__ import annotations

import numpy as np
import pytest

from anyjepa.report.contents import read_contents
from anyjepa.report.masks import masks
from anyjepa.report.mosaic import heat, shown
from anyjepa.report.neighbours import attention, neighbours

RNG = np.random.default_rng(0)
IMAGES = {
    "kind": "images",
    "pictures": RNG.integers(0, 256, (2, 1, 8, 8, 3)).astype(np.uint8),
    "context": RNG.random((1, 2, 1, 4, 4)) < 0.5,
    "targets": RNG.random((1, 2, 3, 1, 4, 4)) < 0.5,
    "often_context": RNG.random((1, 1, 4, 4)),
    "often_target": RNG.random((1, 1, 4, 4)),
    "counted": 2000,
}
NEAR = {
    "kind": "images",
    "records": RNG.integers(0, 256, (2, 3, 8, 8, 1)).astype(np.uint8),
    "labels": np.array([["<script>", "b", "b"], ["b", "b", "c"]]),
    "similarity": np.array([[0.9, 0.8], [0.7, 0.6]]),
    "among": "20 training images",
    "attention": RNG.random((2, 4, 4)),
}


def masks_of(run, **changes):
    np.savez(run / "artifacts" / "masks.npz", **IMAGES | changes)
    return masks(read_contents(run))


def near(run, section, **changes):
    np.savez(run / "artifacts" / "neighbours.npz", **NEAR | changes)
    return section(read_contents(run))


def test_every_group_and_block_is_drawn(run):
    assert masks_of(run).count("<image ") == 2 * 5 + 2  # image, seen, three targets; two maps of use
    clip = RNG.integers(0, 256, (1, 8, 8, 8, 1)).astype(np.uint8)
    context, targets = RNG.random((2, 1, 4, 4, 4)) < 0.5, RNG.random((2, 1, 1, 4, 4, 4)) < 0.5
    often = RNG.random((2, 4, 4, 4))
    page = masks_of(
        run, kind="video", pictures=clip, context=context, targets=targets, often_context=often, often_target=often
    )
    assert page.count("<image ") == 8 * 5 + 4
    assert f"group 2: {context[1].sum()} context, {targets[1].sum()} targets" in page
    assert "Context of group 1 by time step" in page


def test_more_blocks_than_fit_are_told(run):
    page = masks_of(run, targets=np.ones((1, 2, 9, 1, 4, 4), bool))
    assert "The first 6 of 9 target blocks are shown" in page
    assert page.count("<image ") == 2 * 8 + 2


def test_only_what_is_shown_is_opaque():
    tokens = np.array([[True, False], [False, True]])
    opacity = shown(np.zeros((6, 6, 1), np.uint8), tokens)[..., 3] == 255
    np.testing.assert_array_equal(opacity, np.kron(tokens, np.ones((3, 3), bool)))


def test_heat_is_clear_at_zero_and_full_at_the_largest():
    assert heat(np.array([[0.0, 0.5, 1.0]]))[0, :, 3].tolist() == [0, 128, 255]
    assert not heat(np.zeros((2, 2)))[..., 3].any()


@pytest.mark.parametrize(
    "changes",
    [{"pictures": np.zeros(3)}, {"context": np.ones((1, 2, 1, 3, 3))}, {"kind": "cells"}, {"targets": np.array("a")}],
)
def test_foreign_masks_are_named(run, changes):
    assert "could not be drawn" in masks_of(run, **changes)


def test_neighbours_and_attention(run):
    page = near(run, neighbours)
    assert page.count("<image ") == 6
    assert "its nearest neighbours among 20 training images" in page
    assert "1 of 4 neighbours have the class of the query" in page
    assert "<script" not in page
    assert near(run, attention).count("<image ") == 4
    series = near(run, neighbours, kind="series", records=RNG.normal(size=(2, 3, 2, 16)))
    assert "<image " not in series
    assert "<svg" in series


@pytest.mark.parametrize("changes", [{"records": np.zeros(3)}, {"labels": 1}, {"similarity": np.array([["a"]])}])
def test_foreign_neighbours_are_named(run, changes):
    assert "could not be drawn" in near(run, neighbours, **changes)


def test_numbers_that_are_not_finite_have_no_heat():
    with pytest.raises(ValueError, match="not finite"):
        heat(np.array([[0.0, np.nan]]))


def test_runs_without_neighbours_have_no_such_section(run):
    assert not neighbours(read_contents(run))
    assert not attention(read_contents(run))
