"""Random numbers by address: the same numbers on any worker, rank or restart."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def generator(seed: int, stream: str, position: int) -> np.random.Generator:
    """A fresh generator for one draw: Philox (Salmon et al. 2011) keyed by seed and stream, its counter at `position`.

    stream: what the numbers are for ("crop", "masks", "order"); position: the sample's or step's number in the run.
    Distinct positions are 2**128 draws apart.
    """
    key = np.array([seed % 2**64, _key(stream)], np.uint64)  # a list of large integers would pass through float64
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, position, 0], np.uint64)))


def torch_seed(seed: int, *address: int) -> int:
    """One 63-bit seed for torch's own generator (dropout, DropPath) from (seed, step, micro-batch, rank)."""
    digest = blake2b(repr(tuple(map(int, (seed, *address)))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _key(stream: str) -> int:
    return int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")
