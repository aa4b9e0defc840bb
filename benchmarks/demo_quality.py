"""Does pretraining help on the demo? Five seeds of simulated patients, all controls, paired differences.

    python benchmarks/demo_quality.py [--seeds 5] [--output runs/demo-quality]

For each seed: new patients, new weights, the recipe `ecg-jepa-demo` as is. Evaluated on the simulator's test patients
with five labels a class and with all labels: the probe on the pretrained teacher, on a random-init encoder, on raw
input, and the same network trained from scratch on the five labels a class. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kept import kept_run

from anyjepa.evaluation.intervals import estimate, paired_difference
from anyjepa.evaluation.result import Result
from anyjepa.evaluation.study import number
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run, environment


def trained(seed: int, output: Path) -> Run:
    """The demo's run of one seed; one that is there already is taken as it is."""
    return kept_run("ecg-jepa-demo", (), output, [f"training.seed={seed}", f"data.simulator.seed={seed}"])


def areas(result: Result) -> dict[str, float]:
    """Macro AUROC of each row, the mean over the result's repeats."""
    return {row.name: number(row.metrics["macro_auroc"].mean) for row in result.rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("runs/demo-quality"))
    args = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {"5 labels a class": {}, "all labels": {}}
    for seed in range(args.seeds):
        run = trained(seed, args.output / str(seed))
        few = evaluate(run, protocol="linear", low_shot=5, from_scratch=True, seeds=2)
        whole = evaluate(run, protocol="linear")
        for name, result in (("5 labels a class", few), ("all labels", whole)):
            for row, area in areas(result).items():
                found[name].setdefault(row, []).append(area)
        print(
            json.dumps({"seed": seed, **{name: {r: a[-1] for r, a in rows.items()} for name, rows in found.items()}}),
            flush=True,
        )
    for name, rows in found.items():
        print(f"\n{name}: macro AUROC over {args.seeds} seeds, and what pretraining gains")
        main_row = next(iter(rows.values()))
        for row, values in rows.items():
            mean, gain = estimate(values), paired_difference(main_row, values)
            print(f"  {row:60} {mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]", end="   ")
            print(f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
    print(json.dumps({"macro_auroc": found, "machine": environment()}))


if __name__ == "__main__":
    main()
