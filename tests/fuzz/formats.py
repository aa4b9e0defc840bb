"""How a file is damaged: by what is known of its format, which other modules register here, and by plain mutations."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from random import Random

from mutations import Mutation, bytes_mutated, text_mutated

TEXTS = (".hea", ".csv", ".tsv", ".xml", ".ts", ".json", ".yaml", ".txt", ".sets")
KNOWN: dict[str, list[Mutation]] = defaultdict(list)
REPAIRS: dict[str, Callable[[bytes], bytes]] = {}


def knows(*suffixes: str) -> Callable[[Mutation], Mutation]:
    """A mutation of files with these suffixes. It may raise whatever a library raises on what is damaged already."""

    def register(mutation: Mutation) -> Mutation:
        for suffix in suffixes:
            KNOWN[suffix].append(mutation)
        return mutation

    return register


def repairs(suffix: str) -> Callable[[Callable[[bytes], bytes]], Callable[[bytes], bytes]]:
    """What makes the checksums in a file right again."""

    def register(repair: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        REPAIRS[suffix] = repair
        return repair

    return register


def mutated(rng: Random, content: bytes, other: bytes, name: str) -> bytes:
    """One to six mutations that suit the file's name, and mostly right checksums."""
    suffix, changed = suffix_of(name), content
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 6])):
        changed = step(rng, changed, other, suffix)
    while changed == content:
        changed = step(rng, content, other, suffix)
    if suffix in REPAIRS and rng.random() < 0.7:
        with suppress(Exception):  # of what is damaged too much; any library raises its own
            changed = REPAIRS[suffix](changed)
    return changed


def suffix_of(name: str) -> str:
    """What decides how a file is changed: the last suffix, or the name of files without one."""
    name = name.rpartition("/")[2].lower()
    for ending in (".tar.gz", ".pth.tar"):
        if name.endswith(ending):
            return ending
    if name.startswith(("data_batch_", "test_batch", "train", "test")) and name.endswith(".bin"):
        return ".batch"  # CIFAR's binary ones; other .bin are PyTorch's
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix}" if dot else stem


def step(rng: Random, content: bytes, other: bytes, suffix: str) -> bytes:
    known = KNOWN[suffix]
    if known and rng.random() < 0.65:
        with suppress(Exception), warnings.catch_warnings():  # what is damaged cannot always be taken apart
            warnings.simplefilter("ignore")
            return rng.choice(known)(rng, content, other)
    return (text_mutated if suffix in TEXTS else bytes_mutated)(rng, content, other)
