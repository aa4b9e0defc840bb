"""Masks, which say what tokens are context and what tokens are targets, and the interface of their samplers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anyjepa.errors import InputError, reason
from anyjepa.parts import Part

Uniforms = NDArray[np.float64]  # random numbers in [0, 1)


class Masks(NamedTuple):
    """One group of targets and the context to predict them from.

    context: (B, K) token numbers; targets: (B, M, T), M blocks per sample, each predicted on its own. A token may be in
    several blocks, and in context and targets; it is then easy to predict.
    `*_valid`: bool, False where an entry is padding; None if every entry is valid.
    """

    context: Tensor
    targets: Tensor
    context_valid: Tensor | None = None
    targets_valid: Tensor | None = None

    def of(self, values: Tensor) -> Tensor:
        """The rows of values (B, N, D) at the targets, packed in the order of `targets`: (sum T, D)."""
        index = self.targets.flatten(1)  # (B, M * T)
        rows = values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1])).flatten(0, 1)
        return rows if self.targets_valid is None else rows[self.targets_valid.flatten()]

    def rows(self, rows: slice) -> Masks:
        """The masks of some samples, without padding that these samples do not need."""
        context, context_valid = _trimmed(self.context, self.context_valid, rows)
        targets, targets_valid = _trimmed(self.targets, self.targets_valid, rows)
        return Masks(context, targets, context_valid, targets_valid)

    def on(self, device: torch.device) -> Masks:
        """The masks on a device. Its name is not `to`, which Lightning would call, and wait for every copy."""
        return Masks._make(None if part is None else part.to(device) for part in self)

    def everything(self, tokens: int) -> Masks:
        """The same context, with all tokens of the grid as one block of targets."""
        every = torch.arange(tokens, device=self.context.device).expand(len(self.context), 1, -1)
        return Masks(self.context, every, self.context_valid)

    def places(self) -> tuple[Tensor, Tensor]:
        """Token numbers and sample numbers of the targets, (sum T,) each, in the order of `of`."""
        position = self.targets.flatten() if self.targets_valid is None else self.targets[self.targets_valid]
        return position, self.blocks() // self.targets.shape[1]

    def blocks(self) -> Tensor:
        """Block numbers of the targets, (sum T,), in the order of `of`; that of block m of sample b is b * M + m."""
        samples, blocks, _ = self.targets.shape
        number = torch.arange(samples * blocks, device=self.targets.device).view(samples, blocks, 1)
        number = number.expand_as(self.targets)
        return number.flatten() if self.targets_valid is None else number[self.targets_valid]

    def count(self) -> int:
        """Number of valid target tokens."""
        return self.targets.numel() if self.targets_valid is None else int(self.targets_valid.sum())


def _trimmed(index: Tensor, valid: Tensor | None, rows: slice) -> tuple[Tensor, Tensor | None]:
    if valid is None:
        return index[rows], None
    valid = valid[rows]
    longest = int(valid.flatten(0, -2).any(0).nonzero().max()) + 1  # a sample has at least one token
    valid = valid[..., :longest]
    return index[rows, ..., :longest], None if valid.all() else valid


class MaskSampler(Part):
    """Base of mask samplers: the settings, and `sample`, which draws the masks of a batch.

    A grid is the number of tokens along each axis. Token numbers count its N tokens in raster order, last axis fastest.
    `masks/temporal.py` is the shortest example.
    """

    def check(self, grid: tuple[int, ...]) -> None:
        """Raises ValueError if this sampler cannot mask such a grid. Called before training."""

    def draws(self, grid: tuple[int, ...]) -> tuple[int, int]:
        """How many uniform numbers `sample` uses: S for the whole batch, R per sample."""
        return 0, 0

    @abstractmethod
    def sample(self, grid: tuple[int, ...], shared: Uniforms, uniforms: Uniforms) -> list[Masks]:
        """One `Masks` per group of targets, usually one: a pure function of numbers in [0, 1).

        shared: (S,); uniforms: (B, R), one row per sample of the batch. Raises ValueError if the grid does not fit.
        """

    def draw(self, grid: tuple[int, ...], batch: int, rng: np.random.Generator) -> list[Masks]:
        """The masks of a batch, drawn by `rng`. Raises InputError if they do not fit the batch."""
        try:
            shared, own = self.draws(grid)
            groups = self.sample(grid, rng.random(shared), rng.random((batch, own)))
        except InputError:
            raise
        except Exception as error:  # a user's sampler can raise anything
            shape = " x ".join(map(str, grid))
            raise InputError(f"{self.kind}: sampling masks on a grid of {shape} failed ({reason(error)})") from error
        if not isinstance(groups, list) or not all(isinstance(masks, Masks) for masks in groups):
            raise InputError(f"{self.kind}: sample must return a list of Masks")
        for masks in groups:
            self._check("context", "(B, K)", masks.context, masks.context_valid, batch, prod(grid))
            self._check("targets", "(B, M, T)", masks.targets, masks.targets_valid, batch, prod(grid))
        return groups

    def _check(self, name: str, axes: str, index: Tensor, valid: Tensor | None, batch: int, tokens: int) -> None:
        where = f"{self.kind}: {name}"
        if not isinstance(index, Tensor):
            raise InputError(f"{where} must be a torch.Tensor, got {type(index).__name__}")
        shape = tuple(index.shape)
        if index.ndim != 1 + axes.count(",") or shape[0] != batch or index.dtype != torch.int64:
            raise InputError(f"{where} must be int64 of shape {axes} with B = {batch}, got {index.dtype} {shape}")
        if valid is not None and (valid.shape != index.shape or valid.dtype != torch.bool):
            raise InputError(f"{where}_valid must be bool of shape {shape}, got {valid.dtype} {tuple(valid.shape)}")
        if prod(shape[1:]) == 0 or (valid is not None and not valid.flatten(1).any(1).all()):
            raise InputError(f"{where} of a sample is empty")
        if int(index.min()) < 0 or int(index.max()) >= tokens:
            raise InputError(f"{where} must hold token numbers from 0 to {tokens - 1}")


class Coverage(NamedTuple):
    """How often each token is context, in a target block, and in any block of a sample; shares (N,)."""

    context: Tensor
    target: Tensor
    hidden: Tensor


def coverage(batches: Sequence[Masks], tokens: int) -> Coverage:
    """Means over all samples (and blocks) of `batches`, which show a sampler's bias. tokens: N of the grid."""
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
    """(..., K) token numbers -> (..., tokens): 1 for a token that is among them, else 0."""
    counts = torch.ones(index.shape, device=index.device) if valid is None else valid.float()
    return torch.zeros(*index.shape[:-1], tokens, device=index.device).scatter_add_(-1, index, counts)
