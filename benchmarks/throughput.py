"""Training-step time of ECG-JEPA here and in the reference, in one process, alternately.

    python benchmarks/throughput.py --reference PATH/TO/ECG-JEPA [--size s] [--batch 16] [--rounds 7]

The reference runs as shipped (float32, its own attention choice for the device, unfused AdamW on CPUs). Without
--reference only this library is timed. Prints one JSON line: medians in samples/s, the median of the round-by-round
ratios, and the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anyjepa.masks.base import Masks
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.targets import Teacher
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import environment
from anyjepa.runs.pretrain import build_objective
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.precision import lightning_precision

Step = Callable[[], float]


def ours(size: str, x: torch.Tensor, precision: str) -> Step:
    """One optimiser step of this library, EMA included."""
    recipe, _ = load_recipe(f"ecg-jepa-{size}")
    objective = build_objective(recipe).to(x.device).train()
    decayed, rest = decay_groups(objective, "matrices")
    groups = [{"params": [*decayed.values()], "weight_decay": 0.01}, {"params": [*rest.values()], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), eps=1e-6, fused=True)
    sampler, teacher, rng = objective.masks, objective.target, np.random.default_rng(0)
    assert sampler is not None
    assert isinstance(teacher, Teacher)
    bf16 = lightning_precision(precision) == "bf16-mixed"  # type: ignore[arg-type]

    def step() -> float:
        (masks,) = sampler.draw((200,), len(x), rng)
        masks = Masks(*(None if part is None else part.to(x.device) for part in masks))  # type: ignore[arg-type]
        teacher.update(objective.student, 0.998)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = objective(Batch.whole(x, [masks])).total()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    return step


def reference(checkout: Path, size: str, x: torch.Tensor) -> Step:
    """One optimiser step of the reference as shipped."""
    sys.path.insert(0, str(checkout))
    import configs  # type: ignore[import-not-found]
    import yaml
    from data.masks import MaskCollator  # type: ignore[import-not-found]
    from models.JEPA import JEPA  # type: ignore[import-not-found]

    plain = yaml.safe_load((checkout / "configs/pretrain" / f"ViT{size.upper()}_all.yaml").read_text())
    config = configs.pretrain.Config(**plain)
    cuda = x.device.type == "cuda"
    model = JEPA(config, momentum_schedule=iter(lambda: 0.998, None), use_sdp_kernel=cuda).to(x.device)
    optimiser = model.get_optimizer(fused=cuda)
    collate = MaskCollator(25, config.min_block_size, config.min_keep_ratio, config.max_keep_ratio)
    samples = list(x.cpu())

    def step() -> float:
        batch, context, targets = (part.to(x.device) for part in collate(samples))
        loss = model(batch, context, targets)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    return step


def timed(step: Step) -> float:
    """Seconds of one step; the `.item()` inside waits for the device."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--size", default="s", choices=["xs", "s", "b"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(args.batch, 12, 5000, generator=torch.Generator().manual_seed(0)).to(device)
    steps = {"anyjepa": ours(args.size, x, args.precision)}
    if args.reference:
        steps["reference"] = reference(args.reference, args.size, x)
    for step in steps.values():
        with contextlib.redirect_stdout(sys.stderr):
            step()
            step()
    seconds = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            seconds[name].append(timed(step))
    row = {f"{name}_samples_per_s": round(args.batch / statistics.median(s), 2) for name, s in seconds.items()}
    if args.reference:
        ratios = [b / a for a, b in zip(seconds["anyjepa"], seconds["reference"], strict=True)]
        row |= {
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2),
        }
    row |= {"size": args.size, "batch": args.batch, "precision": lightning_precision(args.precision)}
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
