"""How time and memory grow with samples, tokens, leads, genes and classes: at 1, 4 and 16 times the size.

    python benchmarks/growth.py [--rounds 4] [--threads 1] [--only TEXT]

Prints a Markdown table. Time is the least processor time of several rounds after a first one. Memory is the peak above
that before the first round, when inputs and weights were there, without the pages of mapped files. Every size runs in
a process of its own. A slope is log(at 16 times / at 4) / log(4): 0 is no growth, 1 linear, 2 quadratic. At the
smallest size, fixed costs would hide it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from math import log
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from logistic import features
from step import Memory, Step, status_kb

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.source import training_data
from anyjepa.data.pair import Pair
from anyjepa.evaluation.intervals import bootstrap
from anyjepa.evaluation.logistic import fit_logistic
from anyjepa.evaluation.metrics import Scored
from anyjepa.objectives.batch import Batch
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import environment
from anyjepa.runs.objective import build_objective

Call = Callable[[], object]


def step(recipe: str, *edits: str) -> Call:
    return Step(load_recipe(recipe, edits)[0])


def with_leads(leads: int, separate: bool) -> Call:
    names = [f"lead-{number}" for number in range(leads)]
    own = [f"objective.encoder.separate={separate}", "objective.predictor.depth=1"]
    return step("ecg-jepa-demo", f"data.leads={json.dumps(names)}", "training.batch_size=4", *own)


def store(records: int) -> Call:
    """Reads a batch of 32 crops from a store of records of 10 s, 100 Hz and 12 leads."""
    folder = TemporaryDirectory()
    signals = np.random.default_rng(0).normal(0, 0.2, (records, len(LEADS), 1000)).astype(np.float32)
    file, output = Path(folder.name, "a.npz"), Path(folder.name, "store")
    np.savez(file, signals=signals, fs=100, leads=LEADS, unit="mV", ids=np.arange(records).astype(str))
    data = training_data(EcgDataConfig(fs=100), [prepare_store([file], output, fs=100).path])
    rng = np.random.default_rng(0)

    def batch() -> None:
        data.crops(rng.integers(records, size=32).tolist(), rng.spawn(32))
        assert folder, "which keeps the files until the end"

    return batch


def of_genes(genes: int) -> Call:
    """Forward and backward for 128 pairs of cells."""
    objective = build_objective(load_recipe("perturb-demo", [f"data.genes={genes}"])[0])
    cells, others = torch.randn(2, 128, 1, genes)
    condition = torch.randn(128, objective.config.predictor.condition_dim)
    return lambda: objective(Batch.whole(cells, pair=Pair(others, condition))).total().backward()


def logistic(records: int, classes: int) -> Call:
    """One regression on 64 features, with the same penalty of the mean loss at every size."""
    x, values = features(records, 64, classes)
    return lambda: fit_logistic(x, values, 20 / records, exclusive=True)


def intervals(records: int, classes: int) -> Call:
    """Every metric of 200 resamples."""
    rng = np.random.default_rng(0)
    values, scores = (rng.random((records, classes)) < 0.2).astype(float), rng.random((records, classes))
    scored = Scored(values, scores, np.arange(records), scores > 0.5)
    return lambda: bootstrap([scored], 200)


def ecg(duration_s: int, *edits: str) -> Call:
    return step("ecg-jepa-demo", f"data.duration_s={duration_s}", "training.batch_size=2", *edits)


ROWS: dict[str, tuple[int, Callable[[int], Call]]] = {  # the smallest size, and what to do at a size
    "samples: ECG step, batch": (8, lambda n: step("ecg-jepa-demo", f"training.batch_size={n}")),
    "samples: reading from a store of records": (256, store),
    "samples: logistic regression, records": (2000, lambda n: logistic(n, 5)),
    "samples: intervals, records": (250, lambda n: intervals(n, 5)),
    "tokens: ECG step, seconds, float32": (10, lambda n: ecg(n, "training.precision=32")),
    "tokens: ECG step, seconds, bf16": (10, lambda n: ecg(n, "training.precision=bf16")),
    "tokens: the same, `checkpoint_activations`": (
        10,
        lambda n: ecg(n, "training.precision=bf16", "training.checkpoint_activations=true"),
    ),
    "leads: ECG step": (1, lambda n: with_leads(n, separate=False)),
    "leads: ECG step, separate tokens": (1, lambda n: with_leads(n, separate=True)),
    "genes: step of pairs of cells": (500, of_genes),
    "classes: logistic regression": (5, lambda n: logistic(4000, n)),
    "classes: intervals": (5, lambda n: intervals(500, n)),
}


def measured(name: str, size: int, rounds: int, threads: int) -> tuple[float, float]:
    """Milliseconds of processor time, and MB, at least 1."""
    torch.set_num_threads(threads)
    torch.mm(*torch.ones(2, 64, 64, dtype=torch.bfloat16))  # loads what the first product allocates
    call, seconds = ROWS[name][1](size), []
    memory, mapped = Memory(), status_kb("RssFile")
    for _ in range(rounds + 1):
        begin = time.process_time()
        call()
        seconds.append(time.process_time() - begin)
    return 1000 * min(seconds[1:]), max(memory.peak() - (status_kb("RssFile") - mapped) / 2**10, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print("| what grows | size | time, ms | slope | memory, MB | slope |\n|---|---|---|---|---|---|")
    for name in (name for name in ROWS if args.only in name):
        sizes = [ROWS[name][0] * factor for factor in (1, 4, 16)]
        found = []
        for size in sizes:
            with get_context("fork").Pool(1) as pool:
                found.append(pool.apply(measured, (name, size, args.rounds, args.threads)))
        cells = [name, " / ".join(map(str, sizes))]
        for values in zip(*found, strict=True):
            cells += [" / ".join(f"{v:.3g}" for v in values), f"{log(values[2] / values[1]) / log(4):.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(json.dumps({"machine": environment()}))


if __name__ == "__main__":
    main()
