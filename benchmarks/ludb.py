"""Pretrain on small real data; probe LUDB (rhythm, LVH, any conduction disorder) and chapman (rhythm).

    python benchmarks/ludb.py --data DATA [--output runs/ludb] [--scratch-steps 40]

DATA holds the folders ludb, chapman and cpsc2018. The network of `ecg-jepa-xs`; EDITS are what differs from the
published settings. Pretraining sees all records without their labels, so the result is headed transductive. The probe
is judged in 5 patient folds x 3 seeds beside its controls; the network trained from scratch (few steps: it is slow) in
5 folds of one seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from anyjepa.evaluation.result import Result, render
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import environment, open_run
from anyjepa.runs.pretrain import pretrain

TASKS = (("rhythm", "ludb"), ("lvh", "ludb"), ("conduction", "ludb"), ("rhythm", "chapman"))
EDITS = [
    "training.batch_size=64",
    "training.steps=1000",
    "training.order=shuffle",
    "training.workers=0",
    "training.checkpoint_every=100",
    "training.optimiser.warmup=100",
    "training.optimiser.lr=0.0005",
    "training.optimiser.clip=1.0",
    "data.duration_s=2.5",
    "data.unit=uV",
    "data.on_error=skip",
    "objective.encoder.positions.kind=learned",
    "objective.predictor.positions.kind=learned",
    "objective.masks.min_span=5",
    "objective.masks.edges=uniform",
    "objective.target.momentum=[0.996,0.999]",
    "objective.target.update=after",
    "objective.target.normalise=true",
    "objective.distance.kind=smooth_l1",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/ludb"))
    parser.add_argument("--scratch-steps", type=int, default=40, help="0: leave training from scratch out")
    args = parser.parse_args()
    if not (args.output / "model").exists():
        folders = [args.data / name for name in ("ludb", "chapman", "cpsc2018")]
        pretrain("ecg-jepa-xs", folders, args.output, edits=EDITS, progress=True)
    run = open_run(args.output)

    def judge(task: str, folder: str, **changes: object) -> Result:
        settings = {"linear": {"balanced": True}, **changes}
        result = evaluate(run, args.data / folder, task=task, unit="uV", folds=5, settings=settings)
        Console(width=110).print(render(result))
        return result

    results = [judge(*task) for task in TASKS]
    if args.scratch_steps:
        fit = {
            "steps": args.scratch_steps,
            "batch": 32,
            "validate_every": 10,
            "warmup": 5,
            "lr": 1e-3,
            "final_lr": 1e-5,
        }
        results += [judge(*task, seeds=1, from_scratch=True, supervised={"fit": fit}) for task in TASKS]
    rows = {
        f"{r.task} on {r.data} ({r.settings['seeds']} seeds)": {
            row.name: row.metrics["macro_auroc"].mean for row in r.rows
        }
        for r in results
    }
    print(json.dumps({"macro_auroc": rows, "machine": environment()}))


if __name__ == "__main__":
    main()
