"""NEPA against JEPA on the same ECGs: equal counted FLOPs, and equal time, every test patient unseen in pretraining.

    python benchmarks/nepa_jepa.py --data DATA [--seeds 3] [--steps 400] [--output runs/nepa-jepa]
    python benchmarks/nepa_jepa.py             [--seeds 3] [--steps 1600]          # simulated patients

DATA holds the folders ludb, chapman and cpsc2018: networks of the size of `ecg-jepa-xs` (192 x 8 x 4, 50 ms), crops of
2.5 s. A seed is a third of LUDB's patients (three seeds test all): they are left out of pretraining, which has all the
other records without labels. Without DATA: `ecg-jepa-demo` and `ecg-nepa-demo`, a seed is new simulated patients.

JEPA trains for `--steps`; NEPA for as many as have the same counted FLOPs (products of matrices in forward and backward
pass, teacher and predictor included), and for as many as take the same time (steps of both timed alternately, before).
All are evaluated by a linear probe on mean tokens, NEPA's causal, and fine-tuned bidirectionally with a head on mean
tokens, beside random weights of both networks, raw input and statistics; fine-tuned random weights are training from
scratch. Prints Markdown tables of macro AUROC, mean over seeds [95 % t interval], with the difference from JEPA, and a
JSON line. A run that is there already is taken as it is, an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import kept_run
from ludb import OBJECTIVE
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.intervals import estimate, paired_difference
from anyjepa.evaluation.probes import LinearProbe
from anyjepa.evaluation.protocol import Candidate, evaluate
from anyjepa.evaluation.splits import Fixed
from anyjepa.evaluation.study import number
from anyjepa.evaluation.windows import Windows
from anyjepa.objectives.batch import Batch
from anyjepa.progress import Lines, listening
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.labelled import Labelled, labelled
from anyjepa.runs.model import Model, load
from anyjepa.runs.pretrain import build_objective
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision

REAL = [
    "data.duration_s=2.5",
    "data.unit=uV",
    "data.on_error=skip",
    "training.batch_size=64",
    "training.order=shuffle",
    "training.workers=0",
    "training.checkpoint_every=100",
    "training.optimiser.clip=1.0",
]
JEPA = [*OBJECTIVE, "training.optimiser.lr=0.0005"]
NEPA = ["objective.encoder.dim=192", "objective.encoder.heads=4", "objective.ema=null"]
FOLDS = 3  # of LUDB's patients
TASKS = ("rhythm", "lvh", "conduction")
FEW = 5  # labels a class, of simulated patients
Step = Callable[[], None]


def recipes(real: bool, seed: int) -> dict[str, Recipe]:
    if real:
        names = {"JEPA": ("ecg-jepa-xs", [*REAL, *JEPA]), "NEPA": ("ecg-nepa-s", [*REAL, *NEPA])}
        seeds = [f"training.seed={seed}"]
    else:
        names = {"JEPA": ("ecg-jepa-demo", []), "NEPA": ("ecg-nepa-demo", [])}
        seeds = [f"training.seed={seed}", f"data.simulator.seed={seed}"]
    return {method: load_recipe(name, [*edits, *seeds])[0] for method, (name, edits) in names.items()}


def step_of(recipe: Recipe) -> Step:
    """One optimiser step on noise of the recipe's shape."""
    objective = build_objective(recipe).train()
    optimiser = Pretraining(objective, recipe.training, ()).configure_optimizers()
    x = torch.randn(recipe.training.batch_size, recipe.data.channels, *recipe.data.size)
    masks, rng = objective.masks, np.random.default_rng(0)
    bf16 = lightning_precision(recipe.training.precision) == "bf16-mixed"

    def step() -> None:
        groups = masks.draw(objective.student.grid, len(x), rng) if masks else []
        objective.begin_step(0, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = objective(Batch.whole(x, groups)).total()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.end_step()

    return step


def lengths(of: Mapping[str, Recipe], steps: int, rounds: int = 5) -> dict[str, tuple[str, int]]:
    """Rows of the table: whose recipe, and how many steps."""
    made = {method: step_of(recipe) for method, recipe in of.items()}
    flops, seconds = {}, {method: [] for method in made}
    for method, step in made.items():
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # fused attention is not counted
            step()
        flops[method] = counter.get_total_flops()
    for _ in range(rounds):
        for method, step in made.items():
            begin = time.perf_counter()
            step()
            seconds[method].append(time.perf_counter() - begin)
    slower = statistics.median(a / b for a, b in zip(seconds["JEPA"], seconds["NEPA"], strict=True))
    print(f"a step of JEPA has {flops['JEPA'] / 1e9:.1f} GFLOP, of NEPA {flops['NEPA'] / 1e9:.1f}; time {slower:.2f}")
    return {
        "JEPA": ("JEPA", steps),
        "NEPA, equal FLOPs": ("NEPA", round(steps * flops["JEPA"] / flops["NEPA"])),
        "NEPA, equal time": ("NEPA", round(steps * slower)),
    }


def trained(recipe: Recipe, steps: int, paths: list[Path], exclude: list[str], folder: Path) -> Run:
    edits = [f"training.steps={steps}", f"training.optimiser.warmup={steps // 10}"]
    return kept_run(recipe, paths, folder, edits, exclude=exclude, progress=True)


def evaluated(models: Mapping[str, Model], data: Labelled, config: EvaluationConfig, seed: int) -> dict[str, float]:
    """Macro AUROC of pretrained encoders, of random weights of both networks, and of the other controls."""
    found = {name: Candidate(m.encoder, m.loaded.weights, m.loaded.records) for name, m in models.items()}
    for method, name in (("JEPA", "JEPA"), ("NEPA", "NEPA, equal FLOPs")):
        found[f"{method}, random init"] = Candidate(random_encoder(models[name].encoder, seed), "random")
    assert isinstance(data.table, LabelTable)
    with listening(Lines("  ")):
        result = evaluate(
            found,
            data.samples,
            data.table,
            config,
            patients=dict(zip(data.samples.ids, data.samples.groups, strict=True)),
        )
    seen = [row.name for row in result.rows if row.name in models and row.transductive is not False]
    assert not seen, f"pretraining saw test records, or it is not known: {seen}"
    rows = {row.name: number(row.metrics["macro_auroc"].mean) for row in result.rows}
    return {name: area for name, area in rows.items() if name in found or not name.startswith("random init")}


def configs(real: bool, windows: Windows) -> dict[str, EvaluationConfig]:
    fit = FitConfig(steps=60, batch=32, lr=1e-3, final_lr=1e-5, warmup=6, validate_every=15, layer_decay=0.75)
    shared = {"seeds": 1, "bootstrap": 0, "windows": windows, "low_shot": None if real else FEW}
    if real:
        shared |= {"split": Fixed(validation=0.25), "linear": LinearProbe(balanced=True)}
    linear = EvaluationConfig(**shared)
    return {
        "linear probe": linear,
        "fine-tuned": linear.model_copy(update={"protocol": "finetune", "finetune": Finetune(fit=fit)}),
    }


def one_seed(args: argparse.Namespace, seed: int, rows: Mapping[str, tuple[str, int]]) -> dict[str, dict[str, float]]:
    """Each table's rows: macro AUROC on patients that pretraining did not see."""
    real, of = args.data is not None, recipes(args.data is not None, seed)
    paths = [args.data / name for name in ("ludb", "chapman", "cpsc2018")] if real else []
    records = sorted((args.data / "ludb" / "data").glob("*.hea"), key=lambda path: int(path.stem)) if real else []
    order = np.random.default_rng(0).permutation(len(records))  # one record a patient
    test = {f"data/{records[place].stem}" for place in order[seed % FOLDS :: FOLDS]}
    runs = {
        name: trained(of[method], steps, paths, sorted(test), args.output / f"{seed}-{method}-{steps}")
        for name, (method, steps) in rows.items()
    }
    models, found = {name: load(run.model) for name, run in runs.items()}, {}
    for task in TASKS if real else ("",):
        if real:
            data = labelled(models["JEPA"], None, [paths[0]], task, None, unit="uV")
            parts = tuple("test" if name in test else "train" for name in data.table.ids)
            assert test <= set(data.samples.ids), "a test record has another name"
            data = data._replace(table=replace(data.table, split=parts))
            windows = Windows(length=models["JEPA"].preprocessing.size[0])
        else:
            data, windows = labelled(models["JEPA"], runs["JEPA"], [], None, None), Windows()
        for protocol, config in configs(real, windows).items():
            where = f"{task} of LUDB" if real else f"{FEW} labels a class"
            found[f"{protocol}, {where}"] = evaluated(models, data, config, seed)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output", type=Path, default=Path("runs/nepa-jepa"))
    args = parser.parse_args()
    kept = args.output / "lengths.json"  # measured once, so that a run that is interrupted goes on with them
    if not kept.exists():
        steps = args.steps or (400 if args.data else 1600)
        args.output.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(lengths(recipes(args.data is not None, 0), steps)))
    rows = json.loads(kept.read_text())
    print(rows)
    warnings.simplefilter("ignore")  # of records that are left out
    tables: dict[str, dict[str, list[float]]] = {}
    for seed in range(args.seeds):
        for table, found in one_seed(args, seed, rows).items():
            for name, area in found.items():
                tables.setdefault(table, {}).setdefault(name, []).append(area)
        print(json.dumps({"seed": seed, "macro_auroc": tables}), flush=True)
    show(tables)
    print(json.dumps({"macro_auroc": tables, "steps": rows, "machine": environment()}))


def show(tables: Mapping[str, Mapping[str, list[float]]]) -> None:
    for table, rows in tables.items():
        print(f"\n| {table} | macro AUROC | minus JEPA |\n|---|---|---|")
        for name, areas in rows.items():
            cells: list[Any] = [estimate(areas), paired_difference(areas, rows["JEPA"])]
            mean, gain = (f"[{e.low:.3f}, {e.high:.3f}]" if len(areas) > 1 else "" for e in cells)
            print(f"| {name} | {cells[0].mean:.3f} {mean} | {cells[1].mean:+.3f} {gain} |")


if __name__ == "__main__":
    main()
