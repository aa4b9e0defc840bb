"""Unseen knockdowns of simulated screens: the head on raw expression and on PCA-50 beside all baselines.

    python benchmarks/unseen_singles.py [--seeds 5] [--alone]

A quarter of the singles is tested; training has the others and the doubles that name no tested gene, or with --alone
the singles only, as in the baselines' published form. Prints tables and a JSON line.
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import UnseenPerturbation, split
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import latent_head
from anyjepa.perturbation.methods.representations import components
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.perturbation.scoring.result import render
from anyjepa.runs.folder import environment

METHODS = {
    "head on PCA-50": [lambda train: latent_head(components(train, 50))(train)],
    "head on raw expression": [latent_head(lambda cells: cells)],
}


def screen(seed: int, alone: bool) -> Effects:
    """One screen under one split."""
    cells = simulate(CellSimulatorConfig(seed=seed, doubles=0 if alone else 40))
    return effects_of(cells, split(cells, UnseenPerturbation(test=0.25, validation=0.02), seed), f"{seed}: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    result = evaluate_methods(
        [screen(seed, args.alone) for seed in range(args.seeds)], METHODS, "unseen singles, simulated"
    )
    Console(width=110).print(render(result))
    means = {row.name: {name: value.mean for name, value in row.metrics.items()} for row in result.rows}
    print(json.dumps({"rows": means, "machine": environment()}))


if __name__ == "__main__":
    main()
