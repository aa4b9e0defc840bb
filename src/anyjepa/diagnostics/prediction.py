"""How much of its targets an objective predicts, beside predictors that need no encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-4  # differences of predictions, as a share of their length, that say nothing


class Examined(NamedTuple):
    """The predictions of a batch, row by row, and what they are compared with."""

    predicted: Tensor  # (S, D)
    target: Tensor  # (S, D)
    position: Tensor  # (S,) each row's token number
    sample: Tensor  # (S,) each row's number of the sample
    tokens: Tensor  # (B, N, D) the targets of all tokens
    distance: Callable[[Tensor, Tensor], Tensor]  # two (S, D) -> sum over the rows, a scalar
    unchanged: Tensor | None = None  # (B, N, D) the target network's view of the first sample of each pair
    block: Tensor | None = None  # (S,) each row's number of the rows that were predicted together; None: its sample


def prediction_signs(examined: Examined) -> dict[str, float]:
    """The loss, that of trivial predictors, and what the predictions follow.

    `prediction_distance` and `trivial_*` are mean distances, in units of the loss: predicting the mean of all targets,
    the mean at the same position (both over the other samples), and the neighbour: the target of the token before (of
    the first token, the one after), or for pairs the first sample as the target network sees it. `input_skill` is the
    correlation of predictions and targets over samples, without the means of each position; `position_skill` is that
    over positions, without the means of the rows that were predicted together. Both are 0 if the predictions ignore the
    input or the position, so that they differ by rounding only.
    """
    predicted, target = examined.predicted.float(), examined.target.float()
    losses = {"prediction_distance": predicted}
    for name, z in trivial_predictions(examined.tokens.float(), examined.unchanged).items():
        losses[f"trivial_{name}"] = z[examined.sample, examined.position]
    signs = {name: examined.distance(z, target).item() / len(target) for name, z in losses.items()}
    groups = {"input_skill": examined.position}
    together = examined.sample if examined.block is None else examined.block
    if examined.tokens.shape[1] > 1 and together.unique().numel() < len(together):
        groups["position_skill"] = together
    for name, group in groups.items():
        differences = _without_means(predicted, group)
        differs = differences.norm() > ROUNDING * predicted.norm()
        signs[name] = _agreement(differences, _without_means(target, group)) if differs else 0.0
    return signs


def trivial_predictions(tokens: Tensor, unchanged: Tensor | None = None) -> dict[str, Tensor]:
    """Predictions of all tokens (B, N, D), B >= 2, that need no encoder; see `prediction_signs`."""
    batch, positions, _ = tokens.shape
    others = (tokens.sum(0) - tokens) / (batch - 1)  # (B, N, D)
    trivial = {"mean": others.mean(1, keepdim=True).expand_as(tokens), "position": others}
    if unchanged is not None:
        trivial["neighbour"] = unchanged.float()
    elif positions > 1:
        trivial["neighbour"] = torch.cat([tokens[:, 1:2], tokens[:, :-1]], 1)
    return trivial


def cosine(a: Tensor, b: Tensor) -> float:
    """Mean cosine similarity of the rows of two tensors (..., D), such as tokens of the teacher and of the student."""
    return F.cosine_similarity(a.float(), b.float(), dim=-1).mean().item()


def _without_means(z: Tensor, group: Tensor) -> Tensor:
    """Rows (S, D) minus the mean row of their group (S,)."""
    groups = int(group.max()) + 1
    count = z.new_zeros(groups, 1).index_add(0, group, z.new_ones(len(z), 1))
    return z - (z.new_zeros(groups, z.shape[1]).index_add(0, group, z) / count.clamp(min=1))[group]


def _agreement(a: Tensor, b: Tensor) -> float:
    """Correlation of the entries of two centred tensors; 0 if one of them is zero."""
    return ((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)).item()
