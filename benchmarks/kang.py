"""Held-out cell types of Kang et al. 2018 (blood cells under interferon beta), each predicted from the other types.

    python benchmarks/kang.py --data kang2018/scgen_valid.h5ad [--genes 500] [--jepa FOLDER]

One split for each cell type: its stimulated cells are tested, its controls and all cells of the other types train. All
genes, or so many that vary most over training cells; with these also the head on raw expression, whose decoder has a
number for each pair of genes. The perturbed mean is here the mean change of the other types, and other baselines have
no answer. Prints tables, scores by cell type and a JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cell_encoder import on_controls
from rich.console import Console

from anyjepa.data.cells.files import read_h5ad
from anyjepa.data.cells.genes import variable_genes
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import UnseenContext, split
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import latent_head
from anyjepa.perturbation.methods.representations import components
from anyjepa.perturbation.scoring.baselines import BASELINES
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import render
from anyjepa.runs.folder import environment

METHODS = {"head on PCA-50": [lambda train: latent_head(components(train, 50))(train)]}  # others: one more line
ANSWER = ("no change", "perturbed mean")
RAW = {"head on raw expression": [latent_head(lambda cells: cells)]}


def held_out(screen: Screen, cell_type: str, genes: int | None) -> Effects:
    """The split by one cell type."""
    done = split(screen, UnseenContext(label="cell_type", name=cell_type), 0)
    chosen = screen.select(genes=variable_genes(screen, done.train, genes)) if genes else screen
    return effects_of(chosen, done, f"{cell_type}: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--genes", type=int)
    parser.add_argument("--jepa", type=Path, help="run folder of an encoder of control cells, made if it is not there")
    args = parser.parse_args()
    screen = read_h5ad(args.data)
    if args.jepa and args.genes:
        parser.error("--jepa reads all genes: leave --genes out")
    assert screen.cell_type is not None
    splits = [held_out(screen, name, args.genes) for name in screen.cell_type.names]
    jepa = {"head on JEPA-50": [on_controls(screen, args.data, args.jepa)]} if args.jepa else {}
    methods, baselines = jepa | METHODS | (RAW if args.genes else {}), {name: BASELINES[name] for name in ANSWER}
    result = evaluate_methods(splits, methods, "Kang 2018, unseen cell types", baselines)
    Console(width=110).print(render(result))
    for metric in ("pearson_delta", "pearson_vs_mean", "top20_mse", "l2"):
        print(f"\n{metric}: {', '.join(screen.cell_type.names)}")
        for row in result.rows:
            print(f"  {row.name:24}", *("-" if x is None else f"{x:.3f}" for x in row.scores[metric]))
    means = {row.name: {name: value.mean for name, value in row.metrics.items()} for row in result.rows}
    print(json.dumps({"rows": means, "machine": environment()}))


if __name__ == "__main__":
    main()
