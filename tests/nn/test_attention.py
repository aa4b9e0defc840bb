"""Both ways of attending compute the same thing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.nn import attention
from anyjepa.nn.attention import _products, attend


@pytest.fixture(params=[False, True], ids=["fused", "products"], autouse=True, scope="module")
def kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs as on a CPU without AVX-512 and on one with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "AVX512", request.param)
        yield


def plain(q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None, causal: bool) -> Tensor:
    """Attention token by token in float64, for every query given."""
    q, k, v = q.double(), k.double(), v.double()
    out = torch.zeros_like(q)
    for b in range(len(q)):
        for t in range(q.shape[2]):
            seen = torch.ones(k.shape[2], dtype=torch.bool) if valid is None else valid[b].clone()
            if causal:
                seen[t + 1 :] = False
            weights = torch.einsum("hd,hld->hl", q[b, :, t], k[b][:, seen]) / q.shape[-1] ** 0.5
            out[b, :, t] = torch.einsum("hl,hld->hd", weights.softmax(-1), v[b][:, seen])
    return out


@given(
    length=st.integers(1, 12), masked=st.booleans(), causal=st.booleans(), seed=st.integers(0, 99), long=st.booleans()
)
@settings(deadline=None, max_examples=30)
def test_equals_attention_token_by_token(length: int, masked: bool, causal: bool, seed: int, long: bool) -> None:
    """`long` pads with keys that are not seen, past the length where the other kernel is chosen."""
    draw = torch.Generator().manual_seed(seed)
    total = 100 if long else length
    q, k, v = torch.randn(3, 2, 2, total, 4, generator=draw)
    valid = None
    if masked or long:
        valid = torch.rand(2, total, generator=draw) < 0.6
        valid[:, 0], valid[:, length:] = True, False
    out = attend(q, k, v, valid, causal, 0.0)[:, :, :length]
    torch.testing.assert_close(out.double(), plain(q[:, :, :length], k, v, valid, causal), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_products_are_the_fused_kernel(dtype: torch.dtype, close: float, causal: bool, masked: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (part.requires_grad_() for part in torch.randn(3, 2, 3, 24, 8).to(dtype).unbind(0))
    valid, seen = None, torch.ones(2, 1, 24, 24, dtype=torch.bool)
    if masked:
        valid = torch.rand(2, 24) < 0.7
        valid[:, 0] = True
        seen = seen & valid[:, None, None, :]
    if causal:
        seen = seen.tril()
    direction = torch.randn(2, 3, 24, 8).to(dtype)
    ours = _products(q, k, v, valid, causal)
    ours_grad = torch.autograd.grad(ours, (q, k, v), direction)
    theirs = F.scaled_dot_product_attention(q, k, v, seen)
    theirs_grad = torch.autograd.grad(theirs, (q, k, v), direction)
    assert ours.dtype == dtype
    for a, b in zip((ours, *ours_grad), (theirs, *theirs_grad), strict=True):
        torch.testing.assert_close(a, b, rtol=close, atol=close)


@pytest.mark.parametrize("length", [5, 100])
def test_gradient(length: int) -> None:
    """Finite differences in float64, on both sides of the length where the kernel changes."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 1, length, 2, dtype=torch.float64, requires_grad=True).unbind(0)
    valid = torch.arange(length)[None] < 5
    assert torch.autograd.gradcheck(
        lambda q, k, v: attend(q, k, v, valid, True, 0.0)[:, :, :5], (q, k, v), fast_mode=True
    )


@pytest.mark.parametrize("length", [12, 100])
def test_keys_that_are_not_valid_get_no_gradient(length: int) -> None:
    q, k, v = (part.requires_grad_() for part in torch.randn(3, 1, 2, length, 4).unbind(0))
    valid = torch.arange(length)[None] % 3 != 1
    attend(q, k, v, valid, False, 0.0).square().sum().backward()
    for part in (k, v):
        assert part.grad is not None
        assert torch.equal(part.grad.abs().sum((0, 1, 3)) > 0, valid[0])


@pytest.mark.parametrize("length", [12, 100])
def test_dropout_drops_weights_and_keeps_their_mean(length: int) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 40, 4, length, 8)
    out = attend(q, k, torch.ones_like(k), None, False, 0.5)  # each row: 2 x the weights that were kept
    assert abs(out.mean().item() - 1) < 0.03
    assert out.std() > 0.05


def test_one_query_over_many_keys() -> None:
    q, k, v = torch.randn(2, 2, 1, 4), torch.randn(2, 2, 7, 4), torch.randn(2, 2, 7, 4)
    torch.testing.assert_close(attend(q, k, v, None, False, 0.0), F.scaled_dot_product_attention(q, k, v))


def test_long_samples_keep_no_matrix_of_weights() -> None:
    """Memory is linear in the number of tokens from 1,025 on."""
    q, k, v = torch.randn(3, 1, 1, 1100, 8, dtype=torch.bfloat16, requires_grad=True).unbind(0)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        attend(q, k, v, None, False, 0.0)
    assert 0 < max(kept) < 1100**2
