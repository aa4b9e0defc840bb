"""Pretrain on small real data; probe LUDB (rhythm, LVH, any conduction disorder) and chapman (rhythm).

    python benchmarks/ludb.py --data DATA [--seeds 3] [--output runs/ludb] [--scratch-steps 40]

DATA holds the folders ludb, chapman and cpsc2018. The network of `ecg-jepa-xs`; EDITS are what differs from the
published settings. Pretraining sees all records without their labels, so the result is headed transductive. The probe
is evaluated in 5 patient folds x 3 seeds (of pretraining, folds and random weights) beside its controls; the network
trained from scratch (few steps: it is slow) in 5 folds of one seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kept import kept_run
from rich.console import Console

from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig
from anyjepa.evaluation.protocol import evaluate as evaluate
from anyjepa.evaluation.result import Result, render
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.labelled import labelled
from anyjepa.runs.model import load

TASKS = (("rhythm", "ludb"), ("lvh", "ludb"), ("conduction", "ludb"), ("rhythm", "chapman"))
OBJECTIVE = [
    "objective.encoder.positions.kind=learned",
    "objective.predictor.positions.kind=learned",
    "objective.masks.min_span=5",
    "objective.masks.edges=uniform",
    "objective.target.momentum=[0.996,0.999]",
    "objective.target.update=after",
    "objective.target.normalise=true",
    "objective.distance.kind=smooth_l1",
]
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
    *OBJECTIVE,
]


def trained(seed: int, data: Path, output: Path) -> Run:
    folders = [data / name for name in ("ludb", "chapman", "cpsc2018")]
    return kept_run("ecg-jepa-xs", folders, output / str(seed), [*EDITS, f"training.seed={seed}"])


def evaluated(runs: list[Run], task: str, folder: Path, **changes: object) -> Result:
    """Each repeat has a pretraining, folds, and random weights of its own seed."""
    models = [load(run.model) for run in runs]  # all with the same constants
    samples, table, task = labelled(models[0], None, [folder], task, None, unit="uV")
    assert isinstance(table, LabelTable)
    candidates = [Candidate(model.encoder, "teacher", model.loaded.records) for model in models]
    plain = runs[0].recipe.evaluation.model_dump() | {
        "protocol": "linear",
        "linear": {"balanced": True},
        "split": {"kind": "folds", "folds": 5},
        "windows": {"length": models[0].preprocessing.size[0]},
        "seeds": len(runs),
        **changes,
    }
    result = evaluate(
        {"pretrained (teacher)": lambda split: candidates[split.seed]},
        samples,
        table,
        EvaluationConfig.model_validate(plain),
        task=task,
        data=folder.name,
        sources=dict(zip(samples.ids, samples.source, strict=True)),
        patients=dict(zip(samples.ids, samples.groups, strict=True)),
        what=samples.what,
        cache=runs[0].folder.parent / "features",
    )
    Console(width=110).print(render(result))
    runs[0].folder.with_name(f"{folder.name}-{task}-{len(runs)}-seeds.json").write_text(result.to_json())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/ludb"))
    parser.add_argument("--scratch-steps", type=int, default=40, help="0: leave training from scratch out")
    args = parser.parse_args()
    runs = [trained(seed, args.data, args.output) for seed in range(args.seeds)]
    results = [evaluated(runs, task, args.data / folder) for task, folder in TASKS]
    if args.scratch_steps:
        fit = {
            "steps": args.scratch_steps,
            "batch": 32,
            "validate_every": 10,
            "warmup": 5,
            "lr": 1e-3,
            "final_lr": 1e-5,
        }
        few = {"from_scratch": True, "supervised": {"fit": fit}}
        results += [evaluated(runs[:1], task, args.data / folder, **few) for task, folder in TASKS]
    rows = {
        f"{r.task} on {r.data} ({r.settings['seeds']} seeds)": {
            row.name: row.metrics["macro_auroc"].mean for row in r.rows
        }
        for r in results
    }
    print(json.dumps({"macro_auroc": rows, "machine": environment()}))


if __name__ == "__main__":
    main()
