"""Features of frozen encoders: one vector per record, or the tokens of its windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from anyjepa.data.samples import Samples, in_order, lengths
from anyjepa.errors import InputError
from anyjepa.evaluation.finite import check_finite
from anyjepa.evaluation.windows import Windows, cut_signal
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import WIDTHS, Summary, summarise
from anyjepa.progress import tell


@dataclass(frozen=True)
class Tokens:
    """Tokens of all windows of all records, in the order of the records."""

    prefix: np.ndarray  # (W, R, D) float16
    patches: np.ndarray  # (W, N, D) float16
    record: np.ndarray  # (W,) index of the record of each window


def mean_features(encoder: Encoder, samples: Samples, windows: Windows) -> np.ndarray:
    """Mean over the patch tokens of each window, then over the windows of each record, (N, D) float32.

    Records may differ in length.
    """
    return summary_features(encoder, samples, windows, "mean")


@torch.inference_mode()
def summary_features(encoder: Encoder, samples: Samples, windows: Windows, summary: Summary) -> np.ndarray:
    """`summarise` of the patch tokens of each window, then the mean over the windows of each record, (N, F) float32."""
    total, count = np.zeros((len(samples), encoder.dim * WIDTHS[summary])), np.zeros((len(samples), 1))
    for records, _, _, patches in encoded(encoder, samples, windows):
        np.add.at(total, records, summarise(patches.double(), summary).cpu().numpy())
        np.add.at(count, records, 1)
    return (total / count).astype(np.float32)


@torch.inference_mode()
def window_features(
    encoder: Encoder, samples: Samples, windows: Windows, some: range | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the patch tokens of each window (W, D) float32, with the index of its record and its first sample.

    some: only these of all windows, which are counted through all records.
    """
    parts = [
        (records, starts, patches.double().mean(1).float().cpu().numpy())
        for records, starts, _, patches in encoded(encoder, samples, windows, some)
    ]
    records, starts, vectors = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return records, starts, vectors


@torch.inference_mode()
def token_features(encoder: Encoder, samples: Samples, windows: Windows) -> Tokens:
    """Prefix and patch tokens of every window, in half precision.

    Raises InputError if windows differ in length, or if tokens are not finite in half precision.
    """
    sizes = set(lengths(samples).tolist())
    if windows.length is None and len(sizes) > 1:
        raise InputError(f"records have {min(sizes)} to {max(sizes)} samples; set a window length for token features")
    places, prefixes, patches = [], [], []
    for records, _, prefix, patch in encoded(encoder, samples, windows):
        prefix, patch = prefix.half(), patch.half()
        for tokens in (prefix, patch):
            check_finite(tokens, [samples.ids[place] for place in records], encoder)
        places.append(records)
        prefixes.append(prefix.cpu().numpy())
        patches.append(patch.cpu().numpy())
    return Tokens(np.concatenate(prefixes), np.concatenate(patches), np.concatenate(places))


def encoded(
    encoder: Encoder, samples: Samples, windows: Windows, some: range | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, Tensor, Tensor]]:
    """Yield indices of records (B,), first samples of windows (B,), prefix (B, R, D) and patch tokens (B, N, D).

    All windows of a batch have the same length. Raises InputError if tokens are NaN or infinite.
    """
    device, patch, done = next(encoder.parameters()).device, encoder.config.patch[0], 0
    was_training = encoder.training
    encoder.eval()
    try:
        for batch in _batches(samples, windows, encoder.config.multiple, some):
            inputs, places, starts = zip(*batch, strict=True)
            done = done + len(batch) if windows.length is None else places[-1] + 1
            tell(f"encoded {done:,} of {len(samples):,} records")
            x = torch.as_tensor(np.stack(inputs), dtype=torch.float32).to(device)
            start = torch.tensor(starts, device=device) / patch if windows.absolute else None
            try:
                prefix, patches = encoder.features(x, start)
            except ValueError as error:
                raise InputError(f"record '{samples.ids[places[0]]}': {error}") from error
            check_finite(torch.cat([prefix, patches], 1), [samples.ids[place] for place in places], encoder)
            yield np.array(places), np.array(starts), prefix, patches
    finally:
        encoder.train(was_training)


def _batches(
    samples: Samples, windows: Windows, multiple: int, some: range | None
) -> Iterator[list[tuple[np.ndarray, int, int]]]:
    """Lists of (window, index of its record, first sample). Whole records are sorted by length."""
    places, skipped = np.arange(len(samples)), 0
    if windows.length is None:
        places = lengths(samples).argsort(kind="stable")
    elif some is not None:  # only the records that have such windows
        ends = windows.counts(samples).cumsum()
        first, last = np.searchsorted(ends, (some.start, some.stop - 1), side="right")
        places, skipped = places[first : last + 1], int(ends[first - 1]) if first else 0
    signals = zip(places.tolist(), in_order(samples, places.tolist()), strict=True)
    inputs = (
        (window, place, start)
        for place, signal in signals
        for window, start in cut_signal(signal, samples.ids[place], windows, multiple)
    )
    if some is not None:
        inputs = islice(inputs, some.start - skipped, some.stop - skipped)
    for _, same in groupby(inputs, key=lambda item: item[0].shape):
        while batch := list(islice(same, windows.batch)):
            yield batch
