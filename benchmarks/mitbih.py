"""Beats of MIT-BIH: pretrain on DS1 alone, classify the beats of DS2, three seeds beside all controls.

    python benchmarks/mitbih.py --data MITDB [--seeds 3] [--output runs/mit-bih]

One lead (MLII), 125 Hz, tokens of 40 ms. Two tasks: `beats-published` is the usual split of records, in which records
201 (DS1) and 202 (DS2) are one person; `beats` leaves 201 out of training the probe. Pretraining for `beats` leaves it
out, too. Prints a table and a JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anyjepa.evaluation.intervals import estimate, paired_difference
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run, environment, open_run
from anyjepa.runs.pretrain import pretrain

EDITS = [
    "data.fs=125",
    "data.duration_s=4",
    "data.leads=[II]",
    "data.on_error=skip",
    "objective.encoder.patch=[5]",
    "objective.masks.min_span=5",
    "training.steps=800",
    "training.optimiser.warmup=80",
]
PACED = ["mit-bih/107", "mit-bih/217"]  # in neither part; the other two have no lead II
TASKS = {"beats": [*PACED, "mit-bih/201"], "beats-published": PACED}  # what pretraining leaves out
METRICS = ("macro_auroc", "macro_auprc", "balanced_accuracy")


def trained(seed: int, task: str, data: Path, output: Path) -> Run:
    """Pretrained on DS1; a run that is there already is taken as it is."""
    folder = output / f"{task}-{seed}"
    if (folder / "model").exists():
        return open_run(folder)
    edits = [*EDITS, f"training.seed={seed}"]
    return pretrain("ecg-jepa-demo", data, folder, edits=edits, exclude=TASKS[task])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/mit-bih"))
    args = parser.parse_args()
    for task in TASKS:
        found: dict[str, dict[str, list[float]]] = {}
        for seed in range(args.seeds):
            run = trained(seed, task, args.data, args.output)
            settings = {"linear": {"balanced": True}, "from_scratch": True, "seeds": 1}
            result = evaluate(run, args.data, task=task, settings=settings, on_error="skip")
            for row in result.rows:
                for metric in METRICS:
                    found.setdefault(row.name, {}).setdefault(metric, []).append(row.metrics[metric].mean)
            rows = {name: values["macro_auroc"][-1] for name, values in found.items()}
            print(json.dumps({"task": task, "seed": seed, "rows": rows}), flush=True)
        first = next(iter(found.values()))
        print(f"\n{task}: over {args.seeds} seeds, and what pretraining gains in macro AUROC")
        for row, values in found.items():
            means = "  ".join(f"{metric} {estimate(values[metric]).mean:.3f}" for metric in METRICS)
            area = estimate(values["macro_auroc"])
            gain = paired_difference(first["macro_auroc"], values["macro_auroc"])
            spread = f"[{area.low or 0:.3f}, {area.high or 0:.3f}]"
            print(f"  {row:52} {means} {spread}  {gain.mean:+.3f} [{gain.low or 0:+.3f}, {gain.high or 0:+.3f}]")
    print(json.dumps({"machine": environment()}))


if __name__ == "__main__":
    main()
