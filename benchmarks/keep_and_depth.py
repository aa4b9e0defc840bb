"""How much to keep visible, and how deep a predictor? A grid on simulated ECGs, one seed a cell.

    python benchmarks/keep_and_depth.py [--steps 800] [--output runs/keep-and-depth]

The recipe `ecg-jepa-demo`, shorter, with other keep ratios and predictor depths; the linear probe on all labels and on
five a class, macro AUROC on the test patients. Prints a JSON line a cell, then both tables.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

from kept import kept_run

from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import environment

KEEPS = ((0.05, 0.15), (0.15, 0.25), (0.3, 0.4), (0.5, 0.6))
DEPTHS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--output", type=Path, default=Path("runs/keep-and-depth"))
    args = parser.parse_args()
    areas = {}
    for keep, depth in product(KEEPS, DEPTHS):
        folder = args.output / f"{keep[0]}-{keep[1]}-{depth}"
        edits = [
            f"objective.masks.keep={list(keep)}",
            f"objective.predictor.depth={depth}",
            f"training.steps={args.steps}",
            f"training.optimiser.warmup={args.steps // 10}",
        ]
        run = kept_run("ecg-jepa-demo", (), folder, edits)
        results = (evaluate(run, protocol="linear"), evaluate(run, protocol="linear", low_shot=5, seeds=2))
        areas[keep, depth] = [result.rows[0].metrics["macro_auroc"].mean for result in results]
        print(json.dumps({"keep": keep, "depth": depth, "all": areas[keep, depth][0], "five": areas[keep, depth][1]}))
    for number, name in enumerate(("all labels", "5 labels a class")):
        print(f"\n{name}: keep ratio down, predictor depth {', '.join(map(str, DEPTHS))}")
        for keep in KEEPS:
            print(f"  {keep[0]:.2f} to {keep[1]:.2f}  " + "  ".join(f"{areas[keep, d][number]:.3f}" for d in DEPTHS))
    print(json.dumps({"steps": args.steps, "machine": environment()}))


if __name__ == "__main__":
    main()
