"""Pretrain on CIFAR-10; probe with all 50,000 training images, once on the test images, beside all controls.

    python benchmarks/cifar10.py --data CIFAR [--recipe ijepa-cifar10] [--epochs 5] [--seeds 3] [--set KEY=VALUE ...]
        [--protocols linear knn attentive] [--curve] [--output runs/cifar10]

Warm-up is a tenth of the steps. A run that is there already is taken as it is, an interrupted one goes on. Linear and
nearest-neighbour probes read mean-pooled tokens; the linear probe's penalty is chosen on 5,000 training images held
out, then it is trained on all 50,000. Nearest neighbours and the attentive probe have the 45,000. --curve: the linear
probe (10,000 training images) of every checkpoint, beside the minutes since the start. Prints accuracies and a JSON
line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import evaluation_data
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.probes import LinearProbe, linear_probe
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig, evaluate
from anyjepa.evaluation.samples import SelectedSamples, Windows
from anyjepa.evaluation.splits import Fixed, Split, splits
from anyjepa.nn.encoder import Encoder
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import Run, environment, open_run
from anyjepa.runs.model import load
from anyjepa.runs.pretrain import build_objective, pretrain
from anyjepa.training.checkpoints import list_checkpoints, step_of

IMAGES = 50_000
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def trained(name: str, epochs: int, seed: int, edits: list[str], data: Path, folder: Path) -> Run:
    """The recipe's schedule in `epochs` epochs."""
    if (folder / "model").exists():
        return open_run(folder)
    epoch = IMAGES // load_recipe(name, edits)[0].training.batch_size
    lengths = [f"steps={epochs * epoch}", f"optimiser.warmup={epochs * epoch // 10}", f"checkpoint_every={epoch}"]
    lengths += [f"keep_checkpoints={epochs}", f"monitor_every={epoch // 5}", f"seed={seed}"]
    edits = [*(f"training.{length}" for length in lengths), *edits]
    resume = (folder / "recipe.yaml").exists()
    return pretrain(name, data, folder, edits=edits, resume=resume, progress=True)


def judged(runs: list[Run], dataset: Dataset, protocol: str, cache: Path) -> dict[str, list[float]]:
    """Test accuracies of each row, one a seed."""
    encoders = {
        weights: [Candidate(load(run.model, weights).encoder, weights) for run in runs]
        for weights in dict.fromkeys((load(runs[0].model).loaded.weights, "student"))  # without a teacher the same
    }
    config = EvaluationConfig(
        protocol=protocol,  # type: ignore[arg-type]
        split=Fixed(validation=0.1),
        seeds=len(runs),
        linear=LinearProbe(strengths=STRENGTHS, refit=True),
        raw_dimensions=3072,
        bootstrap=0,
    )
    result = evaluate(
        {name: lambda split, of=of: of[split.seed] for name, of in encoders.items()},
        dataset,
        dataset.tables["class"],
        config,
        cache=cache,
        progress=lambda row: print(f"{protocol}: {row}", flush=True),
    )
    return {row.name: [repeat.metrics["accuracy"] or 0.0 for repeat in row.repeats] for row in result.rows}


def probed(encoder: Encoder, dataset: Dataset, labels: float = 0.2) -> float:
    """Test accuracy of a linear probe of fixed strength on mean tokens, with a share of the training labels."""
    table = dataset.tables["class"]
    (whole,) = splits(table, Fixed(validation=1 - labels), 0)
    rows, n = np.concatenate([whole.train, whole.test]), len(whole.train)
    samples, values = SelectedSamples(dataset, rows), table.values[rows]
    split = Split(np.arange(n), np.arange(0), np.arange(n, len(rows)), seed=0)
    x = mean_features(encoder, samples, Windows(batch=256))
    scores = linear_probe(x, values, split, True, LinearProbe(strengths=(1e-2,))).scores
    return float((scores.argmax(1) == values[split.test].argmax(1)).mean())


def curve(run: Run, dataset: Dataset) -> list[dict[str, float]]:
    """Of each checkpoint: minutes since the start and the model's accuracy, with a fifth of the labels."""
    objective, start = build_objective(run.recipe), (run.folder / "recipe.yaml").stat().st_mtime
    found = []
    for path in list_checkpoints(run.folder / "checkpoints"):
        state = torch.load(path, weights_only=True)["state_dict"]
        objective.load_state_dict({name.removeprefix("objective."): tensor for name, tensor in state.items()})
        accuracy = probed(next(iter(objective.encoders().values())), dataset)
        found.append({"step": step_of(path), "minutes": (path.stat().st_mtime - start) / 60, "accuracy": accuracy})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="ijepa-cifar10")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="edits")
    parser.add_argument("--protocols", nargs="*", default=["linear", "knn", "attentive"])
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/cifar10"))
    args = parser.parse_args()
    folders = [args.output / f"{args.recipe}-{args.epochs}-epochs-{seed}" for seed in range(args.seeds)]
    runs = [
        trained(args.recipe, args.epochs, seed, args.edits, args.data, folder) for seed, folder in enumerate(folders)
    ]
    dataset = evaluation_data(load(runs[0].model).preprocessing, [args.data], None, "raise")
    found = {protocol: judged(runs, dataset, protocol, args.output / "features") for protocol in args.protocols}
    for protocol, rows in found.items():
        for name, accuracies in rows.items():
            print(f"{protocol:10} {name:60} {' '.join(f'{100 * accuracy:.2f}' for accuracy in accuracies)}")
    curves = [curve(run, dataset) for run in runs] if args.curve else []
    print(json.dumps({"accuracy": found, "curves": curves, "machine": environment()}))


if __name__ == "__main__":
    main()
