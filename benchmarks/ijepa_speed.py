"""Step time of the network of `ijepa-cifar10` here and in the public I-JEPA code, in one process, alternately.

    git clone https://github.com/facebookresearch/ijepa PATH
    python benchmarks/ijepa_speed.py [--reference PATH] [--batch 256] [--rounds 9] [--threads 1] [--precision auto]

A step is all there is between two batches: synthetic uint8 images in memory become a batch, with masks, then forward,
backward, AdamW and the teacher's step. The reference runs its own training loop as shipped: bf16 autocast and DDP of
one process (its autocast is CUDA's, so on a CPU it computes in float32), its collator with min_keep 4 (10 never ends on
8 x 8 tokens), each image normalised by itself. Only its data set is replaced, by the images in memory, and no
torchvision is needed. Here masks are as the reference's, and in one more row exact. Prints one JSON line: medians of
seconds a step, of which `batch` go to images and masks, by the clock and of the processor (steadier on a shared
machine, meaningless on a GPU), ratios round by round, and ms an image of masks alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ijepa_code import train_public_code
from torch import Tensor

from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.recipes.schema import Recipe, load_recipe
from anyjepa.runs.folder import environment
from anyjepa.training.draws import Collate, DrawnCrops, DrawSampler
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
Times = defaultdict[str, list[np.ndarray]]  # (clock, processor) in s
Step = Callable[[], None]


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def recipe_of(mode: str, batch: int) -> Recipe:
    edits = [f"training.batch_size={batch}", f"objective.masks.mode={mode}", "objective.masks.min_keep=4"]
    return load_recipe("ijepa-cifar10", edits)[0]


def ours(name: str, recipe: Recipe, pixels: np.ndarray, precision: str, times: Times) -> Step:
    """One step of this library, with the parts that its Trainer calls."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    objective = recipe.objective.build(3, recipe.data.size).to(device).train()
    optimiser = Pretraining(objective, recipe.training, ()).configure_optimizers()
    names = tuple(map(str, range(len(pixels))))
    images = ImageDataset.of(ImageSet("synthetic", names, pixels), ImagePreprocessing(side=32, mean=MEAN, std=STD))
    sampler = DrawSampler(recipe.training, len(images))
    crops, collate = DrawnCrops(images, 0), Collate(objective.masks, objective.student.grid, sampler)
    steps = iter(sampler)
    bf16 = lightning_precision(precision) == "bf16-mixed"  # type: ignore[arg-type]

    def step() -> None:
        begin = now()
        batch = collate(crops.__getitems__(next(steps)))
        times[f"{name}_batch"].append(now() - begin)
        batch = batch._replace(x=batch.x.to(device), masks=[_to(group, device) for group in batch.masks])
        objective.begin_step(batch.step, recipe.training.schedule_steps)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = objective(batch).total()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.end_step()
        loss.item()  # waits for the device
        times[name].append(now() - begin)

    return step


def _to(group: Any, device: torch.device) -> Any:
    return type(group)(*(part.to(device) if isinstance(part, Tensor) else part for part in group))


class Alternating:
    """Stands for the reference's data loader; while the reference waits for its next batch, the others' steps run."""

    def __init__(self, collate: Callable[..., Any], pixels: np.ndarray, others: list[Step], times: Times, config: Any):
        self.collate, self.pixels, self.others, self.times, self.config = collate, pixels, others, times, config
        self.sampler = types.SimpleNamespace(set_epoch=lambda epoch: None)

    def __len__(self) -> int:
        return self.config.rounds + 1

    def __iter__(self) -> Iterator[Any]:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        rng = np.random.default_rng(0)
        for _ in range(len(self)):
            for step in self.others:
                step()
            begin = now()
            rows = rng.integers(len(self.pixels), size=self.config.batch)
            images = [(torch.from_numpy(self.pixels[row]).permute(2, 0, 1).float() / 255 - mean) / std for row in rows]
            batch = self.collate([(image, 0) for image in images])
            self.times["reference_batch"].append(now() - begin)
            yield batch
            self.times["reference"].append(now() - begin)


def masks_ms(recipe: Recipe, rounds: int) -> float:
    """Median processor ms an image of a batch of masks, its random numbers included."""
    objective: Any = recipe.objective
    config, rng, batch = objective.masks, np.random.default_rng(0), recipe.training.batch_size
    taken = []
    for _ in range(rounds + 1):
        begin = now()
        config.draw((8, 8), batch, rng)
        taken.append((now() - begin)[1] * 1e3 / batch)
    return round(statistics.median(taken[1:]), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"], help="of this library")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8)
    times: Times = defaultdict(list)
    recipes = {"anyjepa": recipe_of("reference", args.batch), "exact": recipe_of("exact", args.batch)}
    steps = [ours(name, recipe, pixels, args.precision, times) for name, recipe in recipes.items()]
    if args.reference:
        with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
            loader = partial(Alternating, pixels=pixels, others=steps, times=times, config=args)
            train_public_code(args.reference, recipes["anyjepa"], loader, Path(folder))
    else:
        for step in [*steps] * (args.rounds + 1):
            step()
    row: dict[str, object] = {}
    for place, unit in enumerate(("s", "processor_s")):
        taken = {name: [float(step[place]) for step in steps[1:]] for name, steps in times.items()}
        row |= {f"{name}_{unit}": round(statistics.median(seconds), 4) for name, seconds in taken.items()}
        for name in recipes if args.reference else ():
            ratios = [b / a for a, b in zip(taken[name], taken["reference"], strict=True)]
            row[f"reference_over_{name}_{unit}"] = round(statistics.median(ratios), 2)
            row[f"reference_over_{name}_{unit}_range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    row |= {f"{name}_masks_ms_an_image": masks_ms(recipe, args.rounds) for name, recipe in recipes.items()}
    row |= {"batch": args.batch, "threads": args.threads, "precision": lightning_precision(args.precision)}
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
