"""Spans of tokens, and the picture of a mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.report.contents import read_contents
from anyjepa.report.masks import masks
from anyjepa.report.masks_on_signals import spans


@given(st.sets(st.integers(0, 200)))
@settings(deadline=None, max_examples=50)
def test_spans_hold_exactly_their_tokens(tokens):
    found = spans(np.array(sorted(tokens), dtype=int))
    assert [token for first, stop in found for token in range(first, stop)] == sorted(tokens)
    assert all(stop < first for (_, stop), (first, _) in pairwise(found))


def test_caption_counts_tokens_and_spans(run):
    page = masks(read_contents(run))
    assert "80 tokens in 2 spans" in page
    assert "the 20 tokens that it saw. A token covers 100 ms" in page


def test_gaps_and_other_leads_are_drawn(run):
    arrays = dict(np.load(run / "artifacts" / "masks.npz"))
    arrays["signal"][0, 200:300] = np.nan
    np.savez(run / "artifacts" / "masks.npz", **arrays | {"leads": np.array(["MLII", "$V^"])})
    assert "MLII" in masks(read_contents(run))


def test_arrays_that_do_not_fit_are_named(run):
    arrays = dict(np.load(run / "artifacts" / "masks.npz"))
    np.savez(run / "artifacts" / "masks.npz", **arrays | {"leads": np.array(["I"])})
    assert "could not be drawn" in masks(read_contents(run))
    foreign = {"fs": 0, "patch": "ten", "signal": np.zeros(3), "targets": np.array(["a"])}
    for name, value in {**foreign, "leads": 1, "context": 1j * np.ones((2, 2))}.items():
        np.savez(run / "artifacts" / "masks.npz", **arrays | {name: value})
        masks(read_contents(run))  # no exception
    for name, value in {"fs": 0, "patch": -1}.items():
        np.savez(run / "artifacts" / "masks.npz", **arrays | {name: value})
        assert "could not be drawn: fs" in masks(read_contents(run))
    del arrays["fs"]
    np.savez(run / "artifacts" / "masks.npz", **arrays)
    assert "could not be drawn" in masks(read_contents(run))
