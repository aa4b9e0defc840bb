"""Scaled dot-product attention: picks the fastest exact kernel for the device, type and length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

AVX512 = torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))


def attend(q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """q, k, v: (B, H, L, head_dim); valid: bool, keys that are False are ignored -> (B, H, L, head_dim).

    valid: (B, L), or (B or 1, L, L) with a row for each query, in which at least one key must be True.
    On CPUs with AVX-512 the fused kernel's backward pass is slow at short lengths. Plain products are faster there, but
    their memory grows with L²; without AVX-512 the fused kernel is mostly faster (docs/benchmarks.md).
    """
    plain = AVX512 and q.device.type == "cpu" and not torch.compiler.is_exporting()
    if plain and q.shape[-2] <= (1024 if q.dtype == torch.bfloat16 else 96) and dropout == 0:
        return _products(q, k, v, valid, causal)
    mask = None if valid is None else _by_query(valid)
    if causal and mask is not None:
        mask = mask & _lower(q.shape[-2], q.device)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal and mask is None)


def _products(q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None, causal: bool) -> Tensor:
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()  # a product copies them anyway, and transposed ones slowly
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, L, L)
    if valid is not None:
        scores += _minus_infinity(~_by_query(valid), scores.dtype)
    if causal:
        scores += _minus_infinity(~_lower(q.shape[-2], q.device), scores.dtype)
    return scores.softmax(-1) @ v


def _by_query(valid: Tensor) -> Tensor:
    """(B, L) or (B or 1, L, L) -> (B or 1, 1, 1 or L, L)."""
    return valid[:, None] if valid.ndim == 3 else valid[:, None, None]


def _minus_infinity(where: Tensor, dtype: torch.dtype) -> Tensor:
    """-inf where `where` is True, else 0. Adding it in place takes one pass over the scores, none in the backward."""
    return torch.zeros(where.shape, dtype=dtype, device=where.device).masked_fill_(where, -torch.inf)


def _lower(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
