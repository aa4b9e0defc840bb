"""Do losses in bf16 and in float32 differ by less than those of two seeds?

    python benchmarks/precision.py [RECIPE] [--data PATH] [--set KEY=VALUE ...] [--steps 500] [--output runs/precision]

Trains with three seeds in both precisions. Prints JSON: the mean loss of the last 100 steps of every run, and two
differences between runs, of that mean and the largest of the curves as means over 50 steps. `precision`: bf16 against
float32 with the same seed; `seeds`: two seeds in float32; the mean and the largest of three each.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np
from kept import kept_run

from anyjepa.runs.folder import environment
from anyjepa.training.logs import read_metrics

SEEDS = (0, 1, 2)
LAST, WINDOW = 100, 50  # steps


def losses(args: argparse.Namespace, precision: str, seed: int) -> np.ndarray:
    """(steps,) of a run."""
    folder = args.output / f"{args.recipe}-{precision}-{seed}"
    length = [f"training.steps={args.steps}", f"training.checkpoint_every={args.steps}"]
    length += [f"training.optimiser.warmup={args.steps // 10}", "training.log_every=1", "training.monitor_every=1000"]
    edits = [*length, *args.edits, f"training.precision={precision}", f"training.seed={seed}"]
    kept_run(args.recipe, args.data, folder, edits)
    return np.array([row["loss"] for row in read_metrics(folder / "metrics.csv")])


def difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
    """Mean and largest absolute difference over pairs of curves."""
    last = [abs(a[-LAST:].mean() - b[-LAST:].mean()) for a, b in pairs]
    smooth = [np.abs(np.convolve(a - b, np.full(WINDOW, 1 / WINDOW), "valid")).max() for a, b in pairs]
    return {name: [float(np.mean(d)), float(np.max(d))] for name, d in (("last", last), ("largest", smooth))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="ecg-jepa-demo")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--set", dest="edits", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("runs/precision"))
    args = parser.parse_args()
    runs = {name: [losses(args, name, seed) for seed in SEEDS] for name in ("32", "bf16")}
    row = {"recipe": args.recipe, "edits": args.edits, "steps": args.steps}
    row["first"] = {name: [float(run[0]) for run in group] for name, group in runs.items()}
    row["last"] = {name: [float(run[-LAST:].mean()) for run in group] for name, group in runs.items()}
    row["precision"] = difference(list(zip(runs["32"], runs["bf16"], strict=True)))
    row["seeds"] = difference(list(combinations(runs["32"], 2)))
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
