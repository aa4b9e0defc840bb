"""V-JEPA on Moving-MNIST: which of the ten digits are in a clip, from frozen features, beside controls.

    python benchmarks/moving_mnist.py --data MNIST [--steps 1200] [--seeds 1] [--output runs/moving-mnist]

MNIST: a folder with its files; of the 10,000 test images alone 8,000 are for training and 2,000 for test, and so many
clips of 20 frames are made of them. A small V-JEPA (128 x 4, predictor 64 x 2, clips of 8 frames, every second, tokens
of 2 x 16 x 16) is pretrained on the training clips; EDITS are what differs from the published settings. Then two probes
of the digits, each beside random weights and raw pixels: linear on mean tokens, and V-JEPA's attentive probe on all
clips of a video jointly. Prints a Markdown table of macro AUPRC (mAP) and macro AUROC on test clips, and a JSON line. A
run that is there already is taken as it is.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from kept import kept_run

from anyjepa.evaluation.result import Row
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import environment

EDITS = [
    "data.frames=8",
    "data.stride=2",
    "data.side=64",
    "data.colours=grey",
    "data.mean=null",
    "data.std=null",
    "data.augmentation.crop=null",
    "data.augmentation.flip=0",  # a mirrored digit is another one, or none
    "objective.encoder.patch=[2,16,16]",
    "objective.encoder.dim=128",
    "objective.encoder.depth=4",
    "objective.encoder.heads=4",
    "objective.predictor.dim=64",
    "objective.predictor.depth=2",
    "objective.predictor.heads=4",
    "objective.masks.mode=exact",
    "objective.target.momentum=[0.996,0.999]",
    "training.stretch=1",
    "training.batch_size=64",
    "training.workers=0",
    "training.checkpoint_every=400",
    "training.optimiser.lr=0.0005",
    "training.optimiser.start_lr=0",
    "training.optimiser.weight_decay=[0.04,0.1]",
    "training.optimiser.betas=[0.9,0.95]",
    "training.optimiser.clip=1",
    "training.optimiser.clip_from=0",
]


def shown(row: Row) -> str:
    """'0.912 [0.905, 0.919]' of AUPRC and of AUROC, with the bootstrap interval over test clips."""
    cells = []
    for metric in ("macro_auprc", "macro_auroc"):
        found = row.metrics[metric]
        assert found.bootstrap is not None, "every row is resampled"
        low, high = found.bootstrap
        cells.append(f"{found.mean:.3f} [{low:.3f}, {high:.3f}]")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/moving-mnist"))
    parser.add_argument("--set", action="append", default=[], help="more edits")
    args = parser.parse_args()
    rows: dict[str, dict[str, float | None]] = {}
    print("| seed | frozen features | AUPRC | AUROC |\n|---|---|---|---|")
    for seed in range(args.seeds):
        folder, begin = args.output / str(seed), time.perf_counter()
        length = [f"training.steps={args.steps}", f"training.optimiser.warmup={args.steps // 10}"]
        run = kept_run("vjepa-vit-l16", args.data, folder, [*EDITS, *length, f"training.seed={seed}", *args.set])
        taken = time.perf_counter() - begin
        for protocol in ("linear", "vjepa-attentive"):
            result = evaluate(run, args.data, protocol=protocol, settings={"seeds": 1})
            for row in result.rows:
                if row.name.endswith("linear probe"):  # the first protocol's rows, again
                    continue
                name = f"{row.name}, {protocol}" if row.weights in ("teacher", "random") else row.name
                print(f"| {seed} | {name} | {shown(row)} |", flush=True)
                rows[f"{seed}: {name}"] = {metric: estimate.mean for metric, estimate in row.metrics.items()}
        print(f"seed {seed}: pretraining took {taken / 60:.1f} min", flush=True)
    print(json.dumps({"results": rows, "machine": environment()}))


if __name__ == "__main__":
    main()
