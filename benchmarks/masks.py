"""Time of span masks a sample, here and in ECG-JEPA's collator, and of exact block masks an image.

    python benchmarks/masks.py [--reference PATH/TO/ECG-JEPA] [--batch 256] [--rounds 9]

Alternately in one process; prints one JSON line with medians in ms a sample. Block masks: 4 targets on 8 x 8 tokens
(CIFAR-10's) and on 14 x 14.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.spans import SpanConfig
from anyjepa.runs.folder import environment

TOKENS = 200


def ours(batch: int) -> Callable[[], object]:
    """One batch of masks, its random numbers included."""
    config, rng = SpanConfig(), np.random.default_rng(0)
    return lambda: config.draw((TOKENS,), batch, rng)


def blocks(batch: int, side: int) -> Callable[[], object]:
    """One batch of exact block masks, its random numbers included."""
    config, rng = BlocksConfig(scale=(0.15, 0.25), context_scale=(0.75, 0.95)), np.random.default_rng(0)
    return lambda: config.draw((side, side), batch, rng)


def reference(checkout: Path, batch: int) -> Callable[[], object]:
    """The reference's masks of one batch, without its collation of the signals."""
    sys.path.insert(0, str(checkout))
    from data.masks import MaskCollator  # type: ignore[import-not-found]

    collate = MaskCollator(25, 10, 0.15, 0.25)
    samples = [torch.zeros(1, 25 * TOKENS)] * batch
    return lambda: collate(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    samplers = {"anyjepa": ours(args.batch), **{f"blocks_{n}x{n}": blocks(args.batch, n) for n in (8, 14)}}
    if args.reference:
        samplers["reference"] = reference(args.reference, args.batch)
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(args.rounds + 1):
        for name, sample in samplers.items():
            begin = time.perf_counter()
            sample()
            times[name].append((time.perf_counter() - begin) * 1e3 / args.batch)
    row = {f"{name}_ms_a_sample": round(statistics.median(t[1:]), 4) for name, t in times.items()}
    print(json.dumps(row | {"batch": args.batch, "tokens": TOKENS, "machine": environment()}))


if __name__ == "__main__":
    main()
