"""Controls of every result: the same network with random weights, and the input itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa.data.samples import Samples, in_order
from anyjepa.evaluation.windows import BATCH, Windows, cut
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.pooling import Summary, summarise
from anyjepa.nn.tokens import patchify
from anyjepa.randomness import torch_seed


def random_encoder(encoder: Encoder, seed: int, config: AnyEncoder | None = None) -> Encoder:
    """A network with new random weights on the same device, with the same config or with `config`."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed))
        network = (config or encoder.config).build(encoder.channels, encoder.size)
    return network.to(next(encoder.parameters()).device)


def raw_features(samples: Samples, dimensions: int, shape: Sequence[int]) -> dict[str, np.ndarray]:
    """The raw input as features (N, D) by name, as controls that need no encoder.

    The features are means over equal bins of the input, as fine as `dimensions` allows for a record of this shape
    (C, ...), and statistics per channel.
    """
    scale = min(1.0, (dimensions / prod(shape)) ** (1 / (len(shape) - 1)))
    bins = tuple(max(1, int(size * scale + 1e-9)) for size in shape[1:])
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[len(bins) - 1](bins)
    means, statistics = [], []
    for _, same in groupby(in_order(samples, range(len(samples))), key=np.shape):
        while batch := list(islice(same, BATCH)):
            x = np.nan_to_num(np.stack(batch))  # an absent channel gets its mean, 0
            means.extend(pool(torch.as_tensor(x)).flatten(1).numpy())
            flat = x.reshape(*x.shape[:2], -1)
            statistics.extend(np.concatenate([flat.mean(2), flat.std(2), flat.min(2), flat.max(2)], axis=1))
    drawn = " x ".join(map(str, (shape[0], *bins)))
    channels = "1 channel" if shape[0] == 1 else f"{shape[0]} channels"
    return {
        f"raw input ({drawn} bin means)": np.stack(means),
        f"raw statistics (mean, std, min, max of {channels})": np.stack(statistics),
    }


def patch_features(samples: Samples, windows: Windows, patch: Sequence[int], summary: Summary) -> np.ndarray:
    """`summarise` of the raw patches of each window, then the mean over the windows of each record, (N, F) float32.

    patch: samples per patch along each axis.
    """
    vectors = []
    for place in range(len(samples)):
        x = np.stack([window for window, _ in cut(samples, place, windows, patch[0])])
        vectors.append(summarise(whole_patches(x, patch).double(), summary).mean(0))
    return torch.stack(vectors).float().numpy()


def whole_patches(x: np.ndarray, patch: Sequence[int]) -> Tensor:
    """`patchify` of x (B, C, *samples), without incomplete patches. Absent channels are zero."""
    whole = (slice(size // p * p) for size, p in zip(x.shape[2:], patch, strict=True))
    return patchify(torch.as_tensor(np.nan_to_num(x[:, :, *whole])), patch)
