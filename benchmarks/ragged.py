"""Step time of `ijepa-cifar10` with masks of different lengths, beside equal lengths with as many tokens.

    python benchmarks/ragged.py [--batch 256] [--rounds 5] [--threads 1]

Forward, backward, AdamW and the teacher's step, alternately in one process; prints one JSON line with medians. On a
shared machine the ratio of processor seconds is steadier than that of the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from anyjepa.masks.base import Masks
from anyjepa.objectives.batch import Batch
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import environment
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision


def equal(ragged: Masks, tokens: int) -> Masks:
    """Contexts and target blocks all of the mean length of `ragged`, disjoint, at random places."""
    assert ragged.context_valid is not None
    batch, blocks, _ = ragged.targets.shape
    seen, hidden = round(int(ragged.context_valid.sum()) / batch), round(ragged.count() / (batch * blocks))
    order = torch.rand(batch, tokens).argsort(1)
    targets = torch.rand(batch, blocks, tokens - seen).argsort(2)[..., :hidden]
    return Masks(
        order[:, :seen].sort(1).values,
        order[:, seen:].gather(1, targets.flatten(1)).view(batch, blocks, hidden).sort(2).values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    recipe = load_recipe("ijepa-cifar10", [f"training.batch_size={args.batch}"])[0]
    objective = recipe.objective.build(recipe.data.channels, recipe.data.size)
    optimiser = Pretraining(objective, recipe.training, ()).configure_optimizers()
    precision, masks = lightning_precision("auto"), objective.masks
    assert masks is not None
    grid, rng = objective.student.grid, np.random.default_rng(0)
    x = torch.randn(args.batch, recipe.data.channels, *recipe.data.size)

    def step(group: Masks) -> tuple[float, float]:
        clock, used = time.perf_counter(), time.process_time()
        objective.begin_step(0, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = objective(Batch.whole(x, [group])).total()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.end_step()
        return time.perf_counter() - clock, time.process_time() - used

    times: dict[str, list[tuple[float, float]]] = {"ragged": [], "equal": []}
    for _ in range(args.rounds + 1):
        (ragged,) = masks.draw(grid, args.batch, rng)
        for name, group in (("ragged", ragged), ("equal", equal(ragged, int(np.prod(grid))))):
            times[name].append(step(group))
    row: dict[str, object] = {}
    for place, unit in enumerate(("s", "processor_s")):
        medians = {name: statistics.median(t[place] for t in taken[1:]) for name, taken in times.items()}
        row |= {f"{name}_{unit}": round(value, 4) for name, value in medians.items()}
        row[f"ratio_{unit}"] = round(medians["ragged"] / medians["equal"], 3)
    row |= {"batch": args.batch, "threads": args.threads, "precision": precision}
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
