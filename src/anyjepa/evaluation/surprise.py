"""What a next-embedding model expects of a signal: its continuation, and how far what came was from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyjepa.data.samples import Samples
from anyjepa.errors import InputError
from anyjepa.evaluation.finite import check_finite
from anyjepa.nn.vit import ViT

BATCH = 64  # windows, or histories of one window, that are read at a time


@dataclass(frozen=True)
class Surprise:
    """Surprise of the patches of records, in the order of the records."""

    record: np.ndarray  # (P,) place of the patch's record
    token: np.ndarray  # (P,) its number in the record
    values: np.ndarray  # (P,) 1 - cosine of the predicted and the projected patch: 0 as expected, to 2


@torch.inference_mode()
def surprise(encoder: ViT, samples: Samples, horizon: int = 1) -> Surprise:
    """Every whole patch against its prediction from `horizon` patches before; the first `horizon` have none.

    A record longer than the encoder's input is read in half-overlapping inputs, and a patch is scored in the first
    that knows half an input before it. Raises InputError for a record that is too short.
    """
    check_horizon(encoder, horizon)
    encoder.eval()
    record, token, values = [], [], []
    for place in range(len(samples)):
        signal, full = _tokens(encoder, samples, place, horizon), encoder.grid[0]
        length = min(len(signal), full)
        starts = window_starts(len(signal), full)
        found = np.full(len(signal), np.nan, np.float32)
        for part in np.array_split(starts, len(starts) // BATCH + 1):
            windows = torch.stack([signal[start : start + length] for start in part])  # (W, n, D)
            scores = 1 - F.cosine_similarity(predictions(encoder, windows, horizon), windows[:, horizon:], dim=-1)
            check_finite(scores, [samples.ids[place]] * len(scores), encoder)
            for start, score in zip(part, scores.cpu().numpy(), strict=True):
                new = slice(start + horizon, start + length)
                found[new] = np.where(np.isnan(found[new]), score, found[new])
        known = np.flatnonzero(~np.isnan(found))
        record.append(np.full(len(known), place))
        token.append(known)
        values.append(found[known])
    return Surprise(np.concatenate(record), np.concatenate(token), np.concatenate(values))


@torch.inference_mode()
def continuation(encoder: ViT, samples: Samples, horizon: int) -> np.ndarray:
    """The next `horizon` projected patches of each record, (N, horizon, D): each prediction is fed as the next input.

    Predictions have a direction only, so each gets the mean length of the patches before it. Positions stay within an
    input that the encoder knows: what is read are the last patches of the record.
    """
    check_horizon(encoder, horizon)
    encoder.eval()
    continued = []
    for place in range(len(samples)):
        tokens = _tokens(encoder, samples, place, horizon)[-(encoder.grid[0] - horizon) :].unsqueeze(0)  # (1, n, D)
        known = tokens.shape[1]
        length = tokens.norm(dim=-1).mean()
        for _ in range(horizon):
            ahead = encoder.read(tokens, (known + horizon,))[:, -1:]
            tokens = torch.cat([tokens, F.normalize(ahead, dim=-1) * length], dim=1)
        check_finite(tokens, [samples.ids[place]], encoder)
        continued.append(tokens[0, known:].cpu().numpy())
    return np.stack(continued)


def predictions(encoder: ViT, windows: Tensor, horizon: int) -> Tensor:
    """Projected patches (W, n, D) -> predictions of patches horizon to n - 1, (W, n - horizon, D).

    A patch is predicted from those at least `horizon` before it; those between are predictions, too. Beyond a horizon
    of 1 every patch has a history of its own, n times the work for each further step.
    """
    ahead = encoder.read(windows, windows.shape[1:2])[:, len(encoder.prefix) : -1]  # of patches 1 to n - 1
    if horizon == 1:
        return ahead
    return torch.stack([_rolled(encoder, *window, horizon) for window in zip(windows, ahead, strict=True)])


def _rolled(encoder: ViT, window: Tensor, ahead: Tensor, horizon: int) -> Tensor:
    """One window (n, D) and its predictions by one patch (n - 1, D) -> predictions by `horizon`, (n - horizon, D)."""
    prefix, found = len(encoder.prefix), []
    counts = torch.arange(1, len(window) + 1, device=window.device)
    lengths = (window.norm(dim=-1).cumsum(0) / counts).unsqueeze(1)  # (n, 1) mean length up to each patch
    for last in (counts[:-horizon] - 1).split(BATCH):  # of each history, the last patch that is known
        histories, row = window.repeat(len(last), 1, 1), torch.arange(len(last), device=window.device)
        predicted = ahead[last]
        for step in range(1, horizon):
            histories[row, last + step] = F.normalize(predicted, dim=-1) * lengths[last]
            predicted = encoder.read(histories, window.shape[:1])[row, prefix + last + step]
        found.append(predicted)
    return torch.cat(found)


def window_starts(tokens: int, full: int) -> list[int]:
    """First tokens of the inputs in which a record of so many is read: every half input, the last at its end."""
    last = max(0, tokens - full)
    starts = list(range(0, last + 1, max(1, full // 2)))
    return starts if starts[-1] == last else [*starts, last]


def check_horizon(encoder: ViT, horizon: int) -> None:
    """InputError for a horizon that an input of the encoder does not hold twice."""
    if not 1 <= horizon <= encoder.grid[0] // 2:
        raise InputError(f"horizon {horizon}: is not from 1 to {encoder.grid[0] // 2}, half of the model's input")


def _tokens(encoder: ViT, samples: Samples, place: int, horizon: int) -> Tensor:
    """The projected whole patches of a record, (n, D)."""
    (patch,), signal = encoder.config.patch, samples[place]
    count = signal.shape[1] // patch
    if count <= horizon:
        raise InputError(f"record '{samples.ids[place]}' has {count} whole patches; horizon {horizon} needs more")
    x = torch.as_tensor(signal[None, :, : count * patch], dtype=torch.float32)
    return encoder.embed(x.to(encoder.project.weight.device))[0].float()
