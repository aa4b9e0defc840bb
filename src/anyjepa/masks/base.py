"""Masks: which tokens are context and which are targets, as index tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Masks(NamedTuple):
    """One group of targets and the context it is predicted from.

    context: (B, K) token numbers; targets: (B, M, T), M blocks a sample, each predicted on its own.
    `*_valid`: bool, False where an entry only fills up a shorter row; None where every entry counts.
    target_count: valid target tokens of this group in the whole optimiser batch (all ranks and micro-batches).
    """

    context: Tensor
    targets: Tensor
    context_valid: Tensor | None = None
    targets_valid: Tensor | None = None
    target_count: int | None = None

    def of(self, values: Tensor) -> Tensor:
        """The targets' rows of values (B, N, D), packed in the order of `targets`: (sum T, D)."""
        index = self.targets.flatten(1)  # (B, M * T)
        rows = values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1])).flatten(0, 1)
        return rows if self.targets_valid is None else rows[self.targets_valid.flatten()]

    def rows(self, rows: slice) -> Masks:
        """Some samples of an optimiser batch, which `target_count` goes on counting whole. No longer than they need."""
        context, context_valid = _trimmed(self.context, self.context_valid, rows)
        targets, targets_valid = _trimmed(self.targets, self.targets_valid, rows)
        return Masks(context, targets, context_valid, targets_valid, self.count())

    def everything(self, tokens: int, samples: int | None = None) -> Masks:
        """The same context, and all tokens of the grid as one block of targets. samples: of the optimiser batch."""
        batch = len(self.context)
        every = torch.arange(tokens, device=self.context.device).expand(batch, 1, -1)
        return Masks(self.context, every, self.context_valid, None, (samples or batch) * tokens)

    def places(self) -> tuple[Tensor, Tensor]:
        """Token and sample numbers of the targets, (sum T,) each, in the order of `of`."""
        sample = torch.arange(len(self.targets), device=self.targets.device)[:, None, None].expand_as(self.targets)
        if self.targets_valid is None:
            return self.targets.flatten(), sample.flatten()
        return self.targets[self.targets_valid], sample[self.targets_valid]

    def count(self) -> int:
        """Valid target tokens in the optimiser batch, or in these rows where that is not known."""
        if self.target_count is not None:
            return self.target_count
        return self.targets.numel() if self.targets_valid is None else int(self.targets_valid.sum())


def _trimmed(index: Tensor, valid: Tensor | None, rows: slice) -> tuple[Tensor, Tensor | None]:
    if valid is None:
        return index[rows], None
    valid = valid[rows]
    longest = int(valid.flatten(0, -2).any(0).nonzero().max()) + 1  # a sample has a token at least
    valid = valid[..., :longest]
    return index[rows, ..., :longest], None if valid.all() else valid


class Coverage(NamedTuple):
    """How often each token is used, shares (N,): as context, in a target block, and in any block of a sample."""

    context: Tensor
    target: Tensor
    hidden: Tensor


def coverage(batches: Sequence[Masks], tokens: int) -> Coverage:
    """Means over all samples (and blocks) of `batches`; what a bias of a sampler shows in. tokens: N of the grid."""
    context, target, hidden = torch.zeros(3, tokens, dtype=torch.float64)
    samples = blocks = 0
    for masks in batches:
        seen = members(masks.context, masks.context_valid, tokens)  # (B, N)
        blocked = members(masks.targets, masks.targets_valid, tokens)  # (B, M, N)
        context += seen.sum(0)
        target += blocked.sum((0, 1))
        hidden += blocked.amax(1).sum(0)
        samples, blocks = samples + len(seen), blocks + blocked.shape[0] * blocked.shape[1]
    return Coverage(context / samples, target / blocks, hidden / samples)


def members(index: Tensor, valid: Tensor | None, tokens: int) -> Tensor:
    """(..., K) token numbers -> (..., tokens), 1 where a token is among them."""
    counts = torch.ones(index.shape, device=index.device) if valid is None else valid.float()
    return torch.zeros(*index.shape[:-1], tokens, device=index.device).scatter_add_(-1, index, counts)
