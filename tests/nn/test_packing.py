"""Packed and padded views of a ragged batch."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.nn.packing import BUCKETS, WIDTH, Layout, Packed, gather_rows

MASKS = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 999)).map(
    lambda case: torch.rand(case[0], case[1], generator=torch.Generator().manual_seed(case[2])) < 0.5
)


@given(valid=MASKS)
@settings(deadline=None, max_examples=30)
def test_pad_undoes_pack_and_fills_with_zeros(valid: Tensor) -> None:
    layout = Layout(len(valid), valid.shape[1], valid)
    padded = torch.randn(*valid.shape, 3)
    packed = layout.pack(padded)
    assert torch.equal(packed, padded[valid])
    assert torch.equal(layout.pad(packed), padded * valid[..., None])
    assert torch.equal(Packed(packed, layout).padded(), layout.pad(packed))


@given(valid=MASKS, front=st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_prefix_tokens_are_always_valid(valid: Tensor, front: int) -> None:
    longer = Layout(len(valid), valid.shape[1], valid).with_prefix(front)
    assert longer.valid is not None
    assert longer.length == valid.shape[1] + front
    assert longer.valid[:, :front].all()
    assert torch.equal(longer.valid[:, front:], valid)


@given(valid=MASKS)
@settings(deadline=None, max_examples=30)
def test_spread_gives_each_token_its_samples_value(valid: Tensor) -> None:
    sample = torch.arange(len(valid), dtype=torch.float32)[:, None]
    assert torch.equal(Layout(len(valid), valid.shape[1], valid).spread(sample), valid.nonzero()[:, :1].float())


def test_equal_lengths_are_views() -> None:
    layout, x = Layout(2, 3), torch.randn(2, 3, 4)
    assert layout.pack(x).data_ptr() == x.data_ptr()
    assert torch.equal(layout.pad(layout.pack(x)), x)
    assert layout.with_prefix(2) == Layout(2, 5)


def test_gradients_pass_through_both_ways() -> None:
    valid = torch.tensor([[True, False, True], [False, True, False]])
    layout = Layout(2, 3, valid)
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layout.pad(layout.pack(x).square()), x)


def test_gather_rows() -> None:
    values, index = torch.randn(2, 5, 3), torch.tensor([[[4, 0], [1, 1]], [[2, 3], [0, 4]]])
    expected = torch.stack([values[b, index[b].flatten()].view(2, 2, 3) for b in range(2)])
    assert torch.equal(gather_rows(values, index), expected)
    assert torch.equal(gather_rows(values[0], index), values[0][index])


@given(batch=st.integers(1, 30), length=st.integers(1, 100) | st.integers(129, 300), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_buckets_hold_each_samples_tokens_in_their_order(batch: int, length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(batch, length, generator=generator) < torch.rand(batch, 1, generator=generator)
    valid[:, 0] = True
    layout = Layout(batch, length, valid)
    packed = layout.pack(torch.arange(1.0, batch * length + 1).view(batch, length, 1))
    parts = layout.split(packed)
    rows = [row[row > 0].int().tolist() for _, part in parts for row in part.squeeze(-1)]
    assert sorted(rows) == [row[row > 0].int().tolist() for row in layout.pad(packed).squeeze(-1)]
    for inner, part in parts:
        assert inner.valid is not None
        assert torch.equal(part[..., 0] > 0, inner.valid)
        assert inner.length % WIDTH == 0
    assert len(parts) <= BUCKETS
    assert torch.equal(layout.join([part for _, part in parts]), packed)


def test_equal_lengths_are_one_bucket_without_a_copy() -> None:
    layout, x = Layout(2, 3), torch.randn(6, 4)
    ((inner, part),) = layout.split(x)
    assert inner is layout
    assert part.data_ptr() == layout.join([part]).data_ptr() == x.data_ptr()


def test_gradients_pass_through_buckets() -> None:
    valid = torch.arange(70) < torch.tensor([[3], [32], [33], [70]])
    layout = Layout(4, 70, valid)
    x = torch.randn(int(valid.sum()), 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layout.join([part.square() for _, part in layout.split(x)]), x)


@given(valid=MASKS, data=st.data())
@settings(deadline=None, max_examples=30)
def test_the_last_places_are_those_of_the_padded_view(valid: Tensor, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, valid.shape[1]))
    for layout in (Layout(len(valid), valid.shape[1], valid), Layout(len(valid), valid.shape[1])):
        numbers = layout.pad(torch.arange(len(layout.pack(valid))))[:, -count:]
        expected = numbers[valid[:, -count:]] if layout.valid is not None else numbers.flatten()
        assert torch.equal(layout.last(count, valid.device), expected)
