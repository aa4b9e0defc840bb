"""Beats of MIT-BIH: pretrain on DS1 alone, classify the beats of DS2, three seeds beside all controls.

    python benchmarks/mitbih.py --data MITDB [--recipe ecg-jepa-demo] [--steps 800] [--tasks beats beats-published]
        [--seeds 3] [--scratch] [--head mean] [--strengths 1e-4 1e-3 1e-2 1e-1] [--every 1] [--output runs/mit-bih]
    python benchmarks/mitbih.py --data MITDB --run RUN --output FOLDER

One lead (MLII), 125 Hz, tokens of 80 ms. Two tasks: `beats-published` is the usual split of records, in which records
201 (DS1) and 202 (DS2) are one person; `beats` leaves 201 out of training the probe. Pretraining for `beats` leaves it
out, too. Class Q (15 beats in all) is left out. --scratch adds the same network trained on the labels alone, which
takes longer than all else. --run evaluates the encoder of one run in all repeats. --every 10 keeps one normal beat in
ten, of training and test records. If the encoder is not that of ecg-jepa-demo, a further row has random weights of
ecg-jepa-demo's network. Prints a table and a JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from kept import kept_run
from rich.console import Console

from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.source import evaluation_data
from anyjepa.data.labels import LabelTable
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig, evaluate
from anyjepa.evaluation.result import Result, render
from anyjepa.progress import Lines, listening
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import Run, environment, open_run
from anyjepa.runs.model import load

EDITS = [
    "data.fs=125",
    "data.duration_s=4",
    "data.leads=[II]",
    "data.on_error=skip",
    "data.highpass_hz=0.5",  # else the baseline's wander is what is predicted: effective rank 1.4 after 200 steps
    "objective.encoder.patch=[10]",
]
JEPA = "ecg-jepa-demo"
RECIPES = {JEPA: ["objective.masks.keep=[0.3,0.4]", "objective.masks.min_span=3"], "ecg-nepa-demo": []}
STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1]  # weaker penalties change little on 40,000 beats
PACED = ["mit-bih/107", "mit-bih/217"]  # in neither part; the other two have no lead II
TASKS = {"beats": [*PACED, "mit-bih/201"], "beats-published": PACED}  # what pretraining leaves out


def trained(seed: int, task: str, args: argparse.Namespace) -> Run:
    """Pretrained on DS1."""
    lengths = [f"training.steps={args.steps}", f"training.optimiser.warmup={args.steps // 10}"]
    edits = [*EDITS, *RECIPES[args.recipe], *lengths, f"training.seed={seed}"]
    return kept_run(args.recipe, args.data, args.output / f"{task}-{seed}", edits, exclude=TASKS[task])


def thinned(samples: EcgDataset, table: LabelTable, every: int) -> tuple[Samples, LabelTable]:
    """Keep one of `every` normal beats, and all others."""
    if every == 1:
        return samples, table
    normal = table.values[:, table.classes.index("N")] == 1
    table = table.rows(np.flatnonzero(~normal | (np.cumsum(normal) % every == 0)))
    place = {name: index for index, name in enumerate(samples.ids)}
    return SelectedSamples(samples, [place[name] for name in table.ids]), table


def evaluated(task: str, runs: list[Run], args: argparse.Namespace) -> Result:
    """Each repeat has a pretraining, random weights, and with --scratch a training from scratch, of its own seed."""
    models = [load(run.model) for run in runs]  # all with the same constants
    dataset = evaluation_data(models[0].preprocessing, [args.data], on_error="skip")
    samples, table = thinned(*dataset.for_task(task), args.every)
    candidates = [Candidate(model.encoder, model.loaded.weights, model.loaded.records) for model in models]
    rows = {f"pretrained ({candidates[0].weights})": lambda split: candidates[split.seed % len(candidates)]}
    network = load_recipe(JEPA, [*EDITS, *RECIPES[JEPA]])[0].objective.encoder
    if models[0].encoder.config != network:
        rows[f"random init, network of {JEPA}"] = lambda split: Candidate(
            random_encoder(models[0].encoder, split.seed, network), "random"
        )
    plain = runs[0].recipe.evaluation.model_dump()
    linear = {"balanced": True, "strengths": args.strengths, "head": args.head}
    plain |= {"protocol": "linear", "linear": linear, "from_scratch": args.scratch, "seeds": args.seeds}
    plain |= {"min_count": 100}
    with listening(Lines()):
        return evaluate(
            rows,
            samples,
            table,
            EvaluationConfig.model_validate(plain),
            task=task,
            data="MIT-BIH, DS1 to DS2",
            cache=args.output / "features",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default=JEPA, choices=list(RECIPES))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--head", default="mean", choices=["mean", "dynamics", "middle"])
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    if args.run and args.output is None:
        parser.error("--run needs --output, a folder for its scores")
    args.output = args.output or Path("runs/mit-bih")
    args.output.mkdir(parents=True, exist_ok=True)
    for task in args.tasks:
        runs = [open_run(args.run)] if args.run else [trained(seed, task, args) for seed in range(args.seeds)]
        result = evaluated(task, runs, args)
        args.output.joinpath(f"{task}.json").write_text(result.to_json())
        Console(width=110).print(render(result))
    print(json.dumps({"machine": environment()}))


if __name__ == "__main__":
    main()
