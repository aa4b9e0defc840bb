"""Time of span masks a sample, here and in the reference's collator.

    python benchmarks/masks.py [--reference PATH/TO/ECG-JEPA] [--batch 256] [--rounds 9]

Alternately in one process; prints one JSON line with medians in ms a sample.
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

from anyjepa.masks.spans import SpanConfig, sample_spans, span_draws
from anyjepa.runs.folder import environment

TOKENS = 200


def ours(batch: int) -> Callable[[], object]:
    """One batch of masks, its random numbers included."""
    config, rng = SpanConfig(), np.random.default_rng(0)
    return lambda: sample_spans(config, TOKENS, rng.random(), rng.random((batch, span_draws(config, TOKENS))))


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
    samplers = {"anyjepa": ours(args.batch)}
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
