"""Speed of a training step of a recipe, where its time goes, and the same step of the public code.

    python benchmarks/step.py [RECIPE] [--set KEY=VALUE ...] [--rounds 7] [--threads 2] [--reference DIR] [--quick]

A step is all that happens between two optimiser steps: crops from records in memory, masks, forward, backward,
clipping, the optimiser and the moving average. Prints JSON:

- seconds of the first step, which compiles with `--set training.compile=true`;
- samples/s and tokens/s of the median step, and its counted FLOPs;
- `limit`: the share of the step that its matrix products would take if each ran at the best of five runs on its own;
- the memory of the process at its peak, above that before the objective was built;
- seconds by part (data, masks, teacher, ...) and shares by kind of work (products, softmax, copies, ...).

With --reference DIR, a checkout of the public code of the method, its step at the same size runs alternately, as
shipped and tuned (see `public_steps.py`). A ratio is its seconds over ours in the same round: median, least and most.
--quick: only the times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from public_steps import public_steps
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import training_arrays, training_data
from anyjepa.data.records import Records
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.folder import environment
from anyjepa.runs.objective import build_objective
from anyjepa.training.draws import Collate, DrawnCrops, DrawSampler
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import autocast

KINDS = {  # of operators; the first that matches
    "products": r"mm$|bmm$|linear|convolution|attention",
    "softmax": r"softmax",
    "activations": r"gelu|silu|relu|sigmoid|tanh",
    "norms": r"norm",
    "copies": r"copy|clone|_to_",
    "gathers": r"cat$|stack|index|gather|scatter|embedding|zero|fill|nonzero|sort|cumsum|new_|empty",
    "optimiser": r"adam|lerp|foreach",
    "sums": r"add|sub|mul|div|sum|mean|loss|rsub|abs|sign|where|neg|pow|rsqrt",
}
RECORDS = 64  # in memory


def records(recipe: Recipe) -> Dataset:
    """Noise in the form of the recipe's records; the simulated data of the recipe if it is of cells."""
    data: Any = recipe.data
    rng, options = np.random.default_rng(0), {}
    if data.kind in ("images", "video"):
        frames = [data.frames * data.stride] if data.kind == "video" else []
        raw = rng.integers(0, 256, (RECORDS, *frames, *data.size[-2:], data.channels), dtype=np.uint8)
    elif data.kind in ("ecg", "series"):
        raw = rng.standard_normal((RECORDS, data.channels, *data.size), dtype=np.float32)
        options = {"fs": data.fs, "leads": data.leads} if data.kind == "ecg" else {}
    else:
        return training_data(data, ())
    with warnings.catch_warnings(action="ignore"):  # noise contradicts what holds between the leads of an ECG
        return training_arrays(data, Records.of(raw), (), options)


class Watch:
    """Adds up the seconds of named parts. The time of an inner part does not count for the outer one."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.begin(name)
        yield
        self.end()

    def begin(self, name: str, *_: object) -> None:
        self._change()
        self._open.append(name)

    def end(self, *_: object) -> None:
        self._change()
        self._open.pop()

    def _change(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._open[-1] if self._open else "rest"] += now - self._since
        self._since = now


class Step:
    """A training step of a recipe, as Lightning's Trainer takes it. watch: measures its parts."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.device = recipe, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.objective = build_objective(recipe).to(self.device).train()
        self.module = Pretraining(self.objective, recipe.training, ())
        self.optimiser = self.module.configure_optimizers()
        dataset, training = records(recipe), recipe.training
        sampler = DrawSampler(training, len(dataset), shares=dataset.shares)
        self.crops = DrawnCrops(dataset, training.seed, self.objective.pairs, training.batch_size)
        self.collate = Collate(self.objective.masks, self.objective.student.grid, sampler)
        self.draws = iter(sampler)
        self.tokens = training.batch_size * int(np.prod(self.objective.student.grid))

    def __call__(self, watch: Watch | None = None) -> None:
        watch, objective, training = watch or Watch(), self.objective, self.recipe.training
        with watch("data"):
            drawn = self.crops.__getitems__(next(self.draws))
        with watch("masks"):
            batch = _to(self.collate(drawn), self.device)
        with watch("EMA"):
            objective.begin_step(batch.step, training.schedule_steps)
        with watch("loss"), autocast(self.device, training.precision):
            loss = objective(batch).total()
        with watch("backward"):
            loss.backward()
        with watch("optimiser"):
            clip = training.optimiser.clip
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(objective.parameters(), clip)
            self.optimiser.step()
            self.optimiser.zero_grad()
        with watch("EMA"):
            objective.end_step()
        loss.item()  # waits for the device

    def parts(self, rounds: int) -> dict[str, float]:
        """Mean seconds of each part."""
        watch, hooks = Watch(), []
        for name, module in (("student", "student"), ("teacher", "target"), ("predictor", "predictor")):
            part = getattr(self.objective, module, None)
            if part is not None:
                hooks.append(part.register_forward_pre_hook(partial(watch.begin, name)))
                hooks.append(part.register_forward_hook(watch.end))
        watch.seconds.clear()
        for _ in range(rounds):
            self(watch)
        for hook in hooks:
            hook.remove()
        return {name: round(s / rounds, 4) for name, s in watch.seconds.items() if name != "rest"}


def _to(value: Any, device: torch.device) -> Any:
    """Moves the tensors in nested tuples and lists."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, list):
        return [_to(part, device) for part in value]
    return type(value)(*(_to(part, device) for part in value)) if hasattr(value, "_fields") else value


class Products(TorchDispatchMode):
    """Counts the matrix products by shape and type."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm"):
            a, b = args[-2:]
            self.counts[a.shape, b.shape, a.dtype, a.device] += 1
        return func(*args, **(kwargs or {}))


def products_seconds(step: Step) -> float:
    """What the matrix products of a step take: the best of five of each, interleaved."""
    with Products() as products:
        step()
    best = dict.fromkeys(products.counts, float("inf"))
    for _ in range(5):
        for shapes in best:
            a, b, dtype, device = shapes
            left, right = torch.randn(a, dtype=dtype, device=device), torch.randn(b, dtype=dtype, device=device)
            best[shapes] = min(best[shapes], timed(partial(torch.matmul, left, right)))
    return sum(best[shapes] * count for shapes, count in products.counts.items())


def kinds(step: Step) -> dict[str, float]:
    """The share of each kind of operator in the time of a step."""
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]) as profiler:
        step()
    seconds: defaultdict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        spent = event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total
        seconds[next((kind for kind, names in KINDS.items() if re.search(names, event.key)), "other")] += spent
    whole = sum(seconds.values())
    return {kind: round(s / whole, 3) for kind, s in sorted(seconds.items(), key=lambda item: -item[1])}


class Memory:
    """The most memory (MB) that is in use above that of now. Linux, or a GPU."""

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
            self.before = status_kb("VmRSS")

    def peak(self) -> int:
        if torch.cuda.is_available():
            return round(torch.cuda.max_memory_allocated() / 2**20)
        return round((status_kb("VmHWM") - self.before) / 2**10)


def status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="ijepa-cifar10")
    parser.add_argument("--set", dest="edits", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    recipe = load_recipe(args.recipe, args.edits)[0]
    memory = Memory()
    ours = Step(recipe)
    first = timed(ours)
    ours()
    peak_mb = memory.peak()
    steps: dict[str, Callable[[], object]] = {"anyjepa": ours}
    if args.reference:
        with contextlib.redirect_stdout(sys.stderr):
            steps |= public_steps(args.reference.resolve(), recipe, ours.device)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds + 1):
        for name, step in steps.items():
            seconds[name].append(timed(step))
    median = statistics.median(seconds["anyjepa"][1:])
    batch = recipe.training.batch_size
    row: dict[str, Any] = {"recipe": args.recipe, "edits": args.edits, "threads": args.threads}
    row |= {"first_step_s": round(first, 1), "step_s": round(median, 4), "samples_per_s": round(batch / median, 1)}
    row |= {"tokens_per_s": round(ours.tokens / median)}
    for name in [*steps][1:]:
        ratios = [b / a for a, b in zip(seconds["anyjepa"][1:], seconds[name][1:], strict=True)]
        row[name] = {"step_s": round(statistics.median(seconds[name][1:]), 4)}
        row[name]["ratio"] = [round(f(ratios), 2) for f in (statistics.median, min, max)]
    if not args.quick:
        with FlopCounterMode(display=False) as flops:
            ours()
        row |= {"gflop": round(flops.get_total_flops() / 1e9, 1), "limit": round(products_seconds(ours) / median, 3)}
        row |= {"peak_mb": peak_mb, "parts": ours.parts(args.rounds), "kinds": kinds(ours)}
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
