"""Training-step time of `ecg-nepa-s` here and in the ECG port of NEPA, in one process, alternately.

    git clone https://github.com/YasserElj/MY_ECG PATH      # and pip install transformers==4.56.2
    python benchmarks/nepa_speed.py --reference PATH/nepa [--batch 16] [--rounds 7] [--threads 2] [--compile]

A step is forward, backward, clipping, AdamW, and here the average of the weights, too, which the port does not keep.
The port runs twice: with the settings of its Trainer (float32, fused attention, AdamW over lists of tensors, checks for
NaN in every forward), and with the best it can be given: fused AdamW, and no checks. Prints one JSON line: medians in
samples/s by the clock, and the medians of the ratios round by round, by the clock and of the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from anyjepa.objectives.batch import Batch
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import environment
from anyjepa.runs.pretrain import build_objective
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision

Step = Callable[[], float]
CLIP = 1.0


def ours(x: Tensor, precision: str, compiled: bool) -> Step:
    recipe, _ = load_recipe("ecg-nepa-s", [f"training.compile={str(compiled).lower()}"])
    objective = build_objective(recipe).to(x.device).train()
    optimiser = Pretraining(objective, recipe.training, ()).configure_optimizers()  # compiles, too
    bf16 = lightning_precision(precision) == "bf16-mixed"  # type: ignore[arg-type]

    def step() -> float:
        objective.begin_step(1, recipe.training.steps)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = objective(Batch.whole(x)).total()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.student.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad()
        objective.end_step()
        return loss.item()

    return step


def port(checkout: Path, x: Tensor, best: bool) -> Step:
    """The port's network of the same size, and a step as its Trainer takes it."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from models import vit_nepa_ecg  # type: ignore[import-not-found]
    from models.vit_nepa_ecg.modeling_vit_nepa_ecg import prediction_loss  # type: ignore[import-not-found]

    config = vit_nepa_ecg.ViTNepaECGConfig.from_pretrained(checkout / "configs/pretrain/nepa-small-ecg")
    model = vit_nepa_ecg.ViTNepaECGForPreTraining(config).to(x.device).train()
    rates = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.05}
    optimiser = torch.optim.AdamW(model.parameters(), **rates, fused=best or None)

    def step() -> float:
        if best:
            made = model.vit_nepa(x, is_pretraining=True)
            loss = prediction_loss(made.input_embedding, made.last_hidden_state)
        else:
            loss = model(pixel_values=x).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    return step


def timed(step: Step) -> tuple[float, float]:
    """Clock and processor seconds of one step; the `.item()` inside waits for the device."""
    clock, used = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"], help="of this library")
    parser.add_argument("--compile", action="store_true", help="this library's training.compile=true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x = torch.randn(args.batch, 12, 5000).to("cuda" if torch.cuda.is_available() else "cpu")
    steps = {"anyjepa": ours(x, args.precision, args.compile)}
    if args.reference:
        checkout = args.reference.resolve()
        steps |= {"port": port(checkout, x, best=False), "port_at_its_best": port(checkout, x, best=True)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(args.rounds + 1):
        for name, step in steps.items():
            taken[name].append(timed(step))
    row: dict[str, object] = {}
    for name, times in taken.items():
        row[f"{name}_samples_per_s"] = round(args.batch / statistics.median(t[0] for t in times[1:]), 2)
        for place, unit in enumerate(("", "_processor")) if name != "anyjepa" else ():
            ratios = [b[place] / a[place] for a, b in zip(taken["anyjepa"][1:], times[1:], strict=True)]
            row[f"{name}_ratio{unit}"] = [round(f(ratios), 2) for f in (statistics.median, min, max)]
    row |= {"batch": args.batch, "threads": args.threads, "precision": lightning_precision(args.precision)}
    row["compile"] = args.compile
    print(json.dumps(row | {"machine": environment()}))


if __name__ == "__main__":
    main()
