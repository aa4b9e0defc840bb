"""Knockouts of Papalexi et al. 2021 (ECCITE-seq): held-out replicates, and targets that training does not have.

    python benchmarks/papalexi.py --data papalexi2021/papalexi2021.h5ad [--task replicates|targets] [--jepa FOLDER]

`replicates`: each of three is tested in turn, all 25 targets, from the other two; the bar is the mean of the same
target in the others. `targets`: leave one out of the targets that are in the panel of genes. Targets whose own cells
foretell each other no better than the perturbed mean does (Pearson delta) are left out and counted. Prints the
tables and a JSON line a task.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cell_encoder import on_controls
from rich.console import Console

from anyjepa.data.cells.files import CellFileConfig, read_h5ad
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import UnseenContext, split
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import latent_head
from anyjepa.perturbation.methods.representations import components
from anyjepa.perturbation.scoring.baselines import BASELINES, same_elsewhere
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import render
from anyjepa.runs.folder import environment

METHODS = {  # one more representation is one more line
    "head on PCA-50": [lambda train: latent_head(components(train, 50))(train)],
    "head on raw expression": [latent_head(lambda cells: cells)],
}
ELSEWHERE = {"same target, other replicates": same_elsewhere}
PANEL = CellFileConfig(quality=QualityConfig(min_genes=0, max_mito=1), perturbed_by="knockout")  # 299 genes only


def replicates(screen: Screen) -> list[Effects]:
    """A target has the same name in all three splits, so the bootstrap draws targets."""
    assert screen.batch is not None
    names = screen.batch.names
    return [effects_of(screen, split(screen, UnseenContext(label="batch", name=name), 0)) for name in names]


def targets(screen: Screen) -> list[Effects]:
    """One target in each split; replicates together."""
    inside = [i for i, condition in enumerate(screen.conditions) if i and condition.names <= set(screen.genes)]
    return [effects_of(screen, [i]) for i in inside]


TASKS = {"replicates": (replicates, ELSEWHERE), "targets": (targets, {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--jepa", type=Path, help="run folder of an encoder of control cells, made if it is not there")
    args = parser.parse_args()
    screen = read_h5ad(args.data, PANEL)
    edits = ["data.file.quality.min_genes=0", "data.file.quality.max_mito=1", "data.file.perturbed_by=knockout"]
    more_methods = {"head on JEPA-50": [on_controls(screen, args.data, args.jepa, edits)]} if args.jepa else {}
    for task in [args.task] if args.task else TASKS:
        parts, more = TASKS[task]
        result = evaluate_methods(
            parts(screen),
            more_methods | METHODS,
            f"Papalexi 2021, {task}",
            baselines=BASELINES | more,
            above="pearson_delta",
        )
        Console(width=110).print(render(result))
        means = {row.name: {name: value.mean for name, value in row.metrics.items()} for row in result.rows}
        print(json.dumps({"task": task, "rows": means, "machine": environment()}))


if __name__ == "__main__":
    main()
