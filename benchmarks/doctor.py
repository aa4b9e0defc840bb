"""Validate the verdict of the collapse doctor: tiny runs with planted faults and healthy ones.

python benchmarks/doctor.py run OUT.jsonl SEED…   trains the runs of these seeds that OUT.jsonl lacks (resumable)
python benchmarks/doctor.py score OUT.jsonl       sensitivity and specificity of the verdict per fault

Thresholds of `anyjepa.diagnostics.verdict` may be set on runs with even seeds; those with odd seeds are held out.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import training_data
from anyjepa.data.pair import Pair
from anyjepa.diagnostics.verdict import verdict_of
from anyjepa.nn.transformer import Attention
from anyjepa.objectives.base import Objective
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.pretrain import build_objective
from anyjepa.training.fit import fit
from anyjepa.training.logs import read_metrics
from anyjepa.training.module import DivergedError

STEPS, LONG = 100, 500  # LONG where a fault only shows after training: positions are learned before contents
COMMON = (
    "training.monitor_every=10",
    "training.optimiser.warmup=10",
    "training.batch_size=32",
    "training.precision='32'",
    "training.optimiser.start_lr=0.0001",
)
TINY = ("objective.encoder.dim=48", "objective.encoder.depth=2")
MASKED_TINY = (*TINY, "objective.predictor.dim=24", "objective.predictor.depth=1", "training.optimiser.lr=0.001")
SMALL = {  # recipe -> fewer records and smaller networks
    "ecg-jepa-demo": ("data.simulator.patients=300", "objective.encoder.patch=[20]", *MASKED_TINY),
    "ecg-nepa-demo": ("data.simulator.patients=300", "objective.encoder.patch=[20]", *TINY),
    "ijepa-demo": ("objective.encoder.patch=[8,8]", *MASKED_TINY),
    "series-jepa-demo": (*MASKED_TINY, "training.optimiser.lr=0.003", "objective.target.momentum=[0.98, 0.99]"),
    "vjepa-demo": MASKED_TINY,
}
NO_TEACHER = ("objective.target.kind=shared", "objective.distance.kind=l2")
SIGREG = ("objective.regulariser.kind=sigreg", "objective.regulariser.directions=32")
BASES = {  # name -> recipe and edits
    **{name: (name, ()) for name in [*SMALL, "perturb-demo", "drug-response-demo", "trajectory-demo"]},
    "two-modality-demo": ("two-modality-demo", ()),
    "ijepa-vicreg": ("ijepa-demo", (*NO_TEACHER, "objective.regulariser.kind=vicreg")),
    "series-sigreg": (
        "series-jepa-demo",
        (*NO_TEACHER, "objective.regulariser.kind=sigreg", "objective.regulariser.directions=32"),
    ),
}
FAULTY = ("ijepa-demo", "ecg-jepa-demo", "ecg-nepa-demo", "perturb-demo")
MASKED, TEACHER = ("ijepa-demo", "ecg-jepa-demo"), ("ijepa-demo", "ecg-jepa-demo", "perturb-demo")


@dataclass(frozen=True)
class Case:
    """One run. variant: which of two forms of a fault."""

    base: str
    fault: str
    seed: int

    @property
    def variant(self) -> int:
        return FAULTY.index(self.base) % 2

    @property
    def steps(self) -> int:
        return LONG if self.fault in ("shuffled targets", "healthy, long") else STEPS

    @property
    def held_out(self) -> bool:
        return self.seed % 2 == 1


# What a fault changes: the recipe, the objective and the records.
Edits = Callable[[Case], Sequence[str]]
Planted = Callable[[Objective, Case], None]
Spoilt = Callable[[np.ndarray, Sequence[int], Case], np.ndarray]


def momentum(value: int) -> Edits:
    return lambda case: [f"objective.target.momentum=[{value}, {value}]"]


def no_stop_gradient(case: Case) -> Sequence[str]:
    if case.base == "ecg-nepa-demo":
        return ["training.optimiser.lr=0.003"]
    return ["objective.target.kind=shared", "objective.regulariser=null", "training.optimiser.lr=0.003"]


def learns_targets(objective: Objective, case: Case) -> None:
    if case.base == "ecg-nepa-demo":
        embed = objective.student.embed  # type: ignore[attr-defined]
        objective.student.embed = torch.enable_grad()(embed)  # type: ignore[attr-defined]


def no_positions(objective: Objective, case: Case) -> None:
    predictor: Any = objective.predictor
    positions = predictor.positions.forward
    predictor.positions.forward = lambda *arguments: torch.zeros_like(positions(*arguments))


def zero_weights(objective: Objective, case: Case) -> None:
    for module in (objective.student, *objective.encoders().values()):
        for part in module.modules():
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.zeros_(part.weight)


def dead_attention(objective: Objective, case: Case) -> None:
    """Queries and keys stay zero (uniform attention), or are so large that one token gets everything."""
    for encoder in dict.fromkeys([objective.student, *objective.encoders().values()]):
        for part in encoder.modules():
            if isinstance(part, Attention):
                weight = part.qkv.weight
                chosen = torch.ones_like(weight)
                chosen[: 2 * weight.shape[1]] = 0
                weight.data = torch.where(chosen == 0, weight * (300.0 if case.variant else 0.0), weight)
                part.config = part.config.model_copy(update={"qk_norm": "off"})
                if weight.requires_grad:
                    weight.register_hook(lambda gradient, chosen=chosen: gradient * chosen)


def shuffled(objective: Objective, case: Case) -> None:
    """Every sample is compared with the target of another one. Pairs are shuffled in the data."""
    target: Any = getattr(objective, "target", None)
    if case.base == "ecg-nepa-demo":
        embed = objective.student.embed  # type: ignore[attr-defined]
        objective.student.embed = lambda x: embed(x).roll(1, 0)  # type: ignore[attr-defined]
    elif not objective.pairs:
        forward = target.forward
        target.forward = lambda x, start=None: forward(x.roll(1, 0), start)


def constant(x: np.ndarray, indices: Sequence[int], case: Case) -> np.ndarray:
    """All records are equal, or flat lines."""
    return np.zeros_like(x) + (x[:1] * 0 + 1 if case.variant else _first(x))


@lru_cache
def _kept() -> dict[tuple[int, ...], np.ndarray]:
    return {}


def _first(x: np.ndarray) -> np.ndarray:
    return _kept().setdefault(x.shape[1:], x[0].copy())


def shortcut(x: np.ndarray, indices: Sequence[int], case: Case) -> np.ndarray:
    """A level of its own in each record, five times as large as its signal: it solves the task and says nothing."""
    levels = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)[list(indices)]
    return x + 5 * x.std() * levels.reshape(-1, *[1] * (x.ndim - 1))


def misscaled(x: np.ndarray, indices: Sequence[int], case: Case) -> np.ndarray:
    """Wrong units: a hundred times too large, or a hundred times too small."""
    return x * np.float32(0.01 if case.variant else 100)


NOTHING: tuple[Edits, Planted, Spoilt] = (lambda case: (), lambda objective, case: None, lambda x, indices, case: x)


def fault(edits: Edits = NOTHING[0], plant: Planted = NOTHING[1], spoil: Spoilt = NOTHING[2]) -> Any:
    return edits, plant, spoil


FAULTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "momentum 0": (TEACHER, fault(momentum(0))),
    "momentum 1": (TEACHER, fault(momentum(1))),
    "no stop-gradient": (FAULTY, fault(no_stop_gradient, learns_targets)),
    "no mask positions": (MASKED, fault(plant=no_positions)),
    "constant input": (FAULTY, fault(spoil=constant)),
    "lr x 100": (FAULTY, fault(lambda case: [f"training.optimiser.lr={100 * lr_of(case.base)}"])),
    "weights zeroed": (FAULTY, fault(plant=zero_weights)),
    "shuffled targets": (FAULTY, fault(plant=shuffled)),
    "shortcut": (FAULTY, fault(spoil=shortcut)),
    "wrong scale": (FAULTY, fault(spoil=misscaled)),
    "dead attention": (FAULTY, fault(plant=dead_attention)),
    "healthy": (tuple(BASES), fault()),
    "healthy, long": ((*FAULTY, "vjepa-demo", "series-jepa-demo"), fault()),
}


def lr_of(base: str) -> float:
    return load_recipe(BASES[base][0], SMALL.get(BASES[base][0], ()))[0].training.optimiser.lr


def cases(seeds: Sequence[int]) -> list[Case]:
    """The short runs of all seeds, then the long ones."""
    every = [Case(base, name, seed) for seed in seeds for name, (bases, _) in FAULTS.items() for base in bases]
    return sorted(every, key=lambda case: case.steps)


class Spoiling(Dataset):
    """A data set whose records a fault changes."""

    def __init__(self, data: Dataset, case: Case, spoil: Spoilt):
        self.data, self.case, self.spoil = data, case, spoil

    @property
    def ids(self) -> tuple[str, ...]:
        return self.data.ids

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.data[index]

    @property
    def longest(self) -> int:
        return self.data.longest

    def crops(self, indices: Sequence[int], rngs: Any) -> tuple[np.ndarray, np.ndarray]:
        x, starts = self.data.crops(indices, rngs)
        return self.spoil(x, indices, self.case).astype(np.float32), starts

    def pairs(self, indices: Sequence[int], first: Any, second: Any, step: int) -> tuple[np.ndarray, Pair[np.ndarray]]:
        x, pair = self.data.pairs(indices, first, second, step)
        other = self.spoil(pair.other, indices, self.case).astype(np.float32)
        if self.case.fault == "shuffled targets":
            other = np.roll(other, 1, 0)
        return self.spoil(x, indices, self.case).astype(np.float32), pair._replace(other=other)


@lru_cache(maxsize=4)
def records(recipe: str) -> Dataset:
    return training_data(load_recipe(recipe, SMALL.get(recipe, ()))[0].data, (), ())


def recipe_of(case: Case) -> Recipe:
    name, edits = BASES[case.base]
    change = FAULTS[case.fault][1][0](case)
    length = [f"training.seed={case.seed}", f"training.steps={case.steps}"]
    return load_recipe(name, [*SMALL.get(name, ()), *length, *COMMON, *edits, *change])[0]


def train(case: Case) -> dict[str, Any]:
    """The rows of metrics.csv, the settings that the verdict names, and why training stopped early."""
    _, plant, spoil = FAULTS[case.fault][1]
    recipe = recipe_of(case)
    objective = build_objective(recipe)
    plant(objective, case)
    data, stopped = records(BASES[case.base][0]), ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(
                objective,
                recipe.training,
                Spoiling(data, case, spoil),
                Path(folder),
                absolute_time=recipe.data.absolute,
                shares=data.shares,
                progress=False,
            )
        except DivergedError as error:
            stopped = str(error)
        rows = [row for row in read_metrics(Path(folder) / "metrics.csv") if "update" in row]
    settings = {"objective": recipe.objective.model_dump(mode="json")}
    return {**vars(case), "steps": case.steps, "stopped": stopped, "settings": settings, "rows": rows}


def run(path: Path, seeds: Sequence[int]) -> None:
    lines = path.read_text().splitlines() if path.exists() else []
    done = {(line["base"], line["fault"], line["seed"]) for line in map(json.loads, lines)}
    for case in cases(seeds):
        if (case.base, case.fault, case.seed) in done:
            continue
        since = time.process_time()
        try:
            result = train(case)
        except Exception as error:
            print(case, "failed:", repr(error)[:300], flush=True)
            continue
        result["cpu_s"] = time.process_time() - since
        with open(path, "a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{case.base} {case.fault} {case.seed}: {result['cpu_s']:.1f} CPU s", flush=True)


def named(line: dict[str, Any]) -> list[set[str]]:
    """The faults that the verdict names after each measurement of a run."""
    rows, settings = line["rows"], line["settings"] | {"training": {"steps": line["steps"]}}
    verdicts = [verdict_of(rows[:count], settings) for count in range(1, len(rows) + 1)]
    return [{finding.kind for finding in verdict.findings} for verdict in verdicts]


def score(path: Path) -> None:
    """How many runs of each fault are accused, on even seeds (thresholds) and on odd ones (held out).

    A run with a fault is accused if the verdict at its end names one, and a healthy one also if any verdict did before.
    """
    counts: defaultdict[str, list[list[int]]] = defaultdict(lambda: [[0, 0], [0, 0]])
    missed = []
    for line in map(json.loads, path.read_text().splitlines()):
        healthy, kinds = line["fault"].startswith("healthy"), named(line)
        accused = bool(line["stopped"] or kinds[-1] or (healthy and any(kinds)))
        count = counts[line["fault"]][line["seed"] % 2]
        count[0], count[1] = count[0] + accused, count[1] + 1
        names = ", ".join(sorted(set().union(*kinds)))
        missed += [f"{line['base']}, {line['fault']}, seed {line['seed']}: {names}"] if accused == healthy else []
    print("| planted | accused, even seeds | accused, held out |\n|---|---|---|")
    for name, (even, odd) in counts.items():
        print(f"| {name} | {even[0]} of {even[1]} | {odd[0]} of {odd[1]} |")
    print("wrong:", *missed, sep="\n  ")


if __name__ == "__main__":
    command, out, *seeds = sys.argv[1:]
    if command == "run":
        run(Path(out), [int(seed) for seed in seeds])
    else:
        score(Path(out))
