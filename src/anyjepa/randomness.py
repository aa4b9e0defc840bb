"""Random numbers that depend only on their address, so that workers, ranks and restarts do not change them."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def generator(seed: int, stream: str, position: int) -> np.random.Generator:
    """New generator for one draw: Philox (Salmon et al. 2011) with a key from seed and stream, counter at `position`.

    stream: purpose of the numbers, such as "crop", "masks" or "order". position: number of the sample or of the step in
    the run. Distinct positions are 2**128 draws apart.
    """
    key = np.array([seed % 2**64, _key(stream)], np.uint64)  # a list of large integers would pass through float64
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, position, 0], np.uint64)))


def torch_seed(seed: int, *address: int) -> int:
    """63-bit seed for PyTorch's generator (dropout, DropPath) from (seed, step, micro-batch, rank)."""
    digest = blake2b(repr(tuple(map(int, (seed, *address)))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _key(stream: str) -> int:
    return int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")
