"""Where does JEPA pretraining help to predict perturbations? The same head on every representation, simulated screens.

    python benchmarks/perturbations.py [--regimes standard ...] [--seeds 5] [--heads 3] [--set KEY=VALUE ...]
        [--output runs/perturbations]

A seed is another simulated screen with an encoder of its own (perturb-demo), which has seen no cell of the held-out
pairs, genes or state. In regimes with few or shallow cells the held-out pairs are measured on 400 further cells of the
same network at the same depth, so that noise of the test does not hide differences. Prints tables and a
JSON line. A run that is there already is taken as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from kept import kept_run

from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.source import CellDataConfig, held_out
from anyjepa.evaluation.controls import random_encoder
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import HeadConfig, Represent, latent_head
from anyjepa.perturbation.methods.representations import all_tokens, components, shared, sufficiency
from anyjepa.perturbation.scoring.effects import Effects, Fit
from anyjepa.perturbation.scoring.evaluate import evaluate_methods
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.model import load
from anyjepa.training.logs import read_metrics

REGIMES = {
    "standard": [],  # 80 cells a perturbation, 4,000 counts a cell
    "few": ["data.simulator.cells=10"],
    "few-shallow": ["data.simulator.cells=10", "data.simulator.depth=1000"],
    "unseen-genes": ["data.split={kind: perturbation, test: 0.25, validation: 0.02}"],
    "unseen-state": ["data.split={kind: context, label: cell_type, name: state1}"],
}
PRECISE = 400  # further cells of each pair


def trained(regime: str, seed: int, edits: list[str], folder: Path) -> Run:
    seeds = [f"{key}={seed}" for key in ("training.seed", "data.simulator.seed", "data.split_seed")]
    return kept_run("perturb-demo", (), folder, [*REGIMES[regime], *seeds, *edits], progress=True)


def effects(config: CellDataConfig, prefix: str, precise: bool) -> Effects:
    assert isinstance(config.simulator, CellSimulatorConfig)
    screen = simulate(config.simulator)
    split = held_out(config, screen)
    assert split is not None
    found = effects_of(screen, split, prefix)
    if not precise:
        return found
    more = simulate(config.simulator.model_copy(update={"cells": PRECISE}))  # network and conditions come first
    assert more.conditions == screen.conditions
    test = effects_of(more, split.conditions, prefix)  # pairs: no condition is left unused
    mean = np.where(found.test[:, None], test.mean, found.mean)
    control = np.where(found.test[:, None], test.control, found.control)

    def cells(name: str) -> tuple[np.ndarray, np.ndarray]:
        return (test if test.test[test.conditions.index(name)] else found).cells(name)  # type: ignore[misc]

    return replace(found, mean=mean, control=control, cells=cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="*", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="edits")
    parser.add_argument("--output", type=Path, default=Path("runs/perturbations"))
    args = parser.parse_args()
    for regime in args.regimes:
        means = evaluate_regime(regime, args.seeds, args.heads, args.edits, args.output)
        print(json.dumps(means), flush=True)


def evaluate_regime(regime: str, seeds: int, heads: int, edits: list[str], output: Path) -> dict[str, Any]:
    """Print the result on all screens together, and return its means."""
    runs = [trained(regime, seed, edits, output / f"{regime}-{seed}") for seed in range(seeds)]
    parts = [
        effects(run.recipe.data, f"{seed}:", regime.startswith("few"))  # type: ignore[arg-type]
        for seed, run in enumerate(runs)
    ]
    encoders = [load(run.model).encoder for run in runs]

    def seed_of(train: Effects) -> int:
        return int(train.conditions[0].partition(":")[0])

    representations: dict[str, Callable[[Effects], Represent]] = {
        "JEPA": lambda train: all_tokens(encoders[seed_of(train)]),
        "PCA": lambda train: lambda cells: cells,
        "random weights": lambda train: all_tokens(random_encoder(encoders[seed_of(train)], seed_of(train))),
    }
    count = PerturbationConfig().components  # equally many of each representation
    methods = {
        name: [_head(of, head) for head in range(heads)]
        for name, each in representations.items()
        for of in [shared(lambda train, each=each: components(train, count, each(train)))]
    }
    methods["raw expression"] = [latent_head(lambda cells: cells, seed=head) for head in range(heads)]
    result = evaluate_methods(parts, methods, f"simulated screens, {regime}")
    ridge = HeadConfig().ridge
    held = representations | {"PCA": lambda train: components(train, PerturbationConfig().components)}
    decoded = {name: [sufficiency(of(part.train), part, ridge) for part in parts] for name, of in held.items()}
    between = [read_metrics(run.folder / "metrics.csv")[-1]["teacher_between"] for run in runs]
    print(result, flush=True)
    rows = {row.name: {name: one.mean for name, one in row.metrics.items()} for row in result.rows}
    return {"regime": regime, "rows": rows, "decoded": decoded, "between": between, "machine": environment()}


def _head(of: Callable[[Effects], Represent], seed: int) -> Fit:
    return lambda train: latent_head(of(train), seed=seed)(train)


if __name__ == "__main__":
    main()
