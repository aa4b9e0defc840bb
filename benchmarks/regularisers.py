"""What VICReg's weights do: a small JEPA without a teacher on CIFAR-10, one change a row, with signs of collapse.

    python benchmarks/regularisers.py --data CIFAR [--epochs 1] [--rows NAME ...] [--output runs/regularisers]

The recipe is jepa-vicreg-cifar10 with patches of 8, three blocks and batches of 128. A row: the unweighted terms at the
end; of the mean tokens of 2,000 test images the standard deviation, effective rank and mean |correlation| of two dims;
the share of the tokens' spread that lies between images; how much of the targets' variance the predictions explain; and
the accuracy of a linear probe (10,000 training images). A run that is there already is taken as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from cifar10 import probed
from kept import kept_run

from anyjepa.data.modalities import evaluation_data
from anyjepa.diagnostics.collapse import collapse_metrics
from anyjepa.evaluation.controls import random_encoder
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.model import load
from anyjepa.training.logs import read_metrics

SMALL = [
    *(f"objective.encoder.{key}" for key in ("patch=[8,8]", "dim=96", "depth=3", "heads=4")),
    *(f"objective.predictor.{key}" for key in ("dim=x0.5", "depth=2", "heads=4")),
    "training.batch_size=128",
    "training.keep_checkpoints=1",
]
WEIGHTS = "objective.regulariser"
TEACHER = ["objective.target.kind=teacher", "objective.target.update=after"]
ROWS: dict[str, list[str]] = {
    "as recommended": [],
    "no regulariser": ["objective.regulariser=null"],
    "variance 0": [f"{WEIGHTS}.variance=0"],
    "variance 5": [f"{WEIGHTS}.variance=5"],
    "variance 100": [f"{WEIGHTS}.variance=100"],
    "covariance 0": [f"{WEIGHTS}.covariance=0"],
    "covariance 25": [f"{WEIGHTS}.covariance=25"],
    "invariance 5": [f"{WEIGHTS}.invariance=5"],
    "invariance 100": [f"{WEIGHTS}.invariance=100"],
    "gamma 0.5": [f"{WEIGHTS}.gamma=0.5"],
    "gamma 2": [f"{WEIGHTS}.gamma=2"],
    "flattened": [f"{WEIGHTS}.over=flattened"],
    "stop-gradient": ["objective.target.kind=stop_gradient"],
    "EMA teacher beside": TEACHER,
    "EMA teacher alone": [*TEACHER, "objective.regulariser=null"],
    "SIGReg": ["objective.regulariser.kind=sigreg", "objective.regulariser.directions=64"],
}


def trained(edits: list[str], data: Path, epochs: int, folder: Path) -> Run:
    steps = epochs * 50_000 // 128
    tenth = steps // 10
    lengths = {"steps": steps, "optimiser.warmup": tenth, "log_every": tenth, "checkpoint_every": steps}
    all_edits = [*SMALL, *(f"training.{key}={value}" for key, value in lengths.items()), *edits]
    return kept_run("jepa-vicreg-cifar10", data, folder, all_edits, progress=True)


@torch.inference_mode()
def signs(run: Run, images: torch.Tensor) -> dict[str, float]:
    """Of 2,000 test images, and of the last logged step."""
    model = load(run.model)
    tokens = torch.cat([model.encoder(part).padded() for part in images.split(250)])
    correlation = torch.corrcoef(tokens.mean(1).T).nan_to_num()
    off = correlation[~torch.eye(len(correlation), dtype=torch.bool)].abs().mean()
    last = read_metrics(run.folder / "metrics.csv")[-1]
    config = getattr(run.recipe.objective, "regulariser", None)
    weight = 1.0 if config is None else config.invariance
    error = last["prediction"] / weight if weight else float("nan")
    # Of all tokens: what a prediction of their mean would miss.
    variance = tokens.flatten(0, 1).var(0).mean().item()
    found = collapse_metrics(tokens) | {"correlation": off.item(), "error": error, "explained": 1 - error / variance}
    for name in ("variance", "covariance"):
        if name in last and getattr(config, name):
            found[name] = last[name] / getattr(config, name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--output", type=Path, default=Path("runs/regularisers"))
    args = parser.parse_args()
    found = {}
    for name in args.rows:
        run = trained(ROWS[name], args.data, args.epochs, args.output / name.replace(" ", "-"))
        dataset = evaluation_data(load(run.model).preprocessing, [args.data], None, "raise", {})
        images = torch.as_tensor(np.stack([dataset[len(dataset) - 1 - i] for i in range(2000)]))
        encoder = load(run.model).encoder
        if "random init" not in found:  # the probe standardises, so features of any scale probe at least like these
            found["random init"] = {"accuracy": probed(random_encoder(encoder, 0), dataset)}
        found[name] = signs(run, images) | {"accuracy": probed(encoder, dataset)}
        print(name.ljust(20), " ".join(f"{key} {value:.3f}" for key, value in found[name].items()), flush=True)
    print(json.dumps({"rows": found, "machine": environment()}))


if __name__ == "__main__":
    main()
