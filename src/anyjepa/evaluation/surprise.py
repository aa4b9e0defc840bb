"""Predictions of a next-embedding model: the continuation of a signal, and the surprise at each patch."""

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

BATCH = 64


@dataclass(frozen=True)
class Surprise:
    """Surprise at the patches of records, in the order of the records."""

    record: np.ndarray  # (P,) index of the record of each patch
    token: np.ndarray  # (P,) number of the patch in the record
    values: np.ndarray  # (P,) 1 - cosine of the predicted and the projected patch: 0 (as expected) to 2


@torch.inference_mode()
def surprise(encoder: ViT, samples: Samples, horizon: int = 1, batch: int = BATCH) -> Surprise:
    """Compare every whole patch with its prediction from `horizon` patches before; the first `horizon` have none.

    A record longer than the input of the encoder is read in half-overlapping inputs. A patch is scored in the first
    input with at least half an input before it. batch: windows, or histories of one window, that are encoded together.
    Raises InputError for a record that is too short.
    """
    check_horizon(encoder, horizon)
    encoder.eval()
    record, token, values = [], [], []
    for place in range(len(samples)):
        signal, full = _tokens(encoder, samples, place, horizon), encoder.grid[0]
        length = min(len(signal), full)
        starts = window_starts(len(signal), full)
        first = np.full(len(signal), np.nan, np.float32)
        for part in np.array_split(starts, len(starts) // batch + 1):
            windows = torch.stack([signal[start : start + length] for start in part])  # (W, n, D)
            scores = 1 - F.cosine_similarity(
                predictions(encoder, windows, horizon, batch), windows[:, horizon:], dim=-1
            )
            check_finite(scores, [samples.ids[place]] * len(scores), encoder)
            for start, score in zip(part, scores.cpu().numpy(), strict=True):
                new = slice(start + horizon, start + length)
                first[new] = np.where(np.isnan(first[new]), score, first[new])
        scored = np.flatnonzero(~np.isnan(first))
        record.append(np.full(len(scored), place))
        token.append(scored)
        values.append(first[scored])
    return Surprise(np.concatenate(record), np.concatenate(token), np.concatenate(values))


@torch.inference_mode()
def continuation(encoder: ViT, samples: Samples, horizon: int) -> np.ndarray:
    """Predict the next `horizon` projected patches of each record, (N, horizon, D), autoregressively.

    Predictions have only a direction, so each gets the mean length of the patches before it. The last patches of the
    record are read, so that positions stay within the input of the encoder.
    """
    check_horizon(encoder, horizon)
    encoder.eval()
    continued = []
    for place in range(len(samples)):
        tokens = _tokens(encoder, samples, place, horizon)[-(encoder.grid[0] - horizon) :].unsqueeze(0)  # (1, n, D)
        measured = tokens.shape[1]
        length = tokens.norm(dim=-1).mean()
        for _ in range(horizon):
            ahead = encoder.read(tokens, (measured + horizon,))[:, -1:]
            tokens = torch.cat([tokens, F.normalize(ahead, dim=-1) * length], dim=1)
        check_finite(tokens, [samples.ids[place]], encoder)
        continued.append(tokens[0, measured:].cpu().numpy())
    return np.stack(continued)


def predictions(encoder: ViT, windows: Tensor, horizon: int, batch: int = BATCH) -> Tensor:
    """Predict the patches horizon to n - 1, (W, n - horizon, D), from projected patches (W, n, D).

    A patch is predicted from patches at least `horizon` before it, and the patches between are predictions, too. For a
    horizon above 1, every patch has its own history, so each further step takes n times the work.
    """
    ahead = encoder.read(windows, windows.shape[1:2])[:, len(encoder.prefix) : -1]  # of patches 1 to n - 1
    if horizon == 1:
        return ahead
    return torch.stack([_rolled(encoder, *window, horizon, batch) for window in zip(windows, ahead, strict=True)])


def _rolled(encoder: ViT, window: Tensor, ahead: Tensor, horizon: int, batch: int) -> Tensor:
    """Predictions `horizon` patches ahead, (n - horizon, D), of a window (n, D), from those one ahead (n - 1, D)."""
    prefix, rolled = len(encoder.prefix), []
    counts = torch.arange(1, len(window) + 1, device=window.device)
    lengths = (window.norm(dim=-1).cumsum(0) / counts).unsqueeze(1)  # (n, 1) mean length up to each patch
    for last in (counts[:-horizon] - 1).split(batch):  # last measured patch of each history
        histories, row = window.repeat(len(last), 1, 1), torch.arange(len(last), device=window.device)
        predicted = ahead[last]
        for step in range(1, horizon):
            histories[row, last + step] = F.normalize(predicted, dim=-1) * lengths[last]
            predicted = encoder.read(histories, window.shape[:1])[row, prefix + last + step]
        rolled.append(predicted)
    return torch.cat(rolled)


def window_starts(tokens: int, full: int) -> list[int]:
    """First tokens of the inputs for a record of `tokens`: one every half input, the last at the end of the record."""
    last = max(0, tokens - full)
    starts = list(range(0, last + 1, max(1, full // 2)))
    return starts if starts[-1] == last else [*starts, last]


def check_horizon(encoder: ViT, horizon: int) -> None:
    """Raise InputError if the horizon is longer than half an input of the encoder."""
    if not 1 <= horizon <= encoder.grid[0] // 2:
        raise InputError(f"horizon {horizon}: must be from 1 to {encoder.grid[0] // 2}, half of the model's input")


def _tokens(encoder: ViT, samples: Samples, place: int, horizon: int) -> Tensor:
    """The projected whole patches of a record, (n, D)."""
    (patch,), signal = encoder.config.patch, samples[place]
    count = signal.shape[1] // patch
    if count <= horizon:
        raise InputError(f"record '{samples.ids[place]}' has {count} whole patches; horizon {horizon} needs more")
    x = torch.as_tensor(signal[None, :, : count * patch], dtype=torch.float32)
    return encoder.embed(x.to(encoder.project.weight.device))[0].float()
